/** The experiment that the form asks for, in the trainer's own terms; what is left out takes its defaults. */

export interface RunChoice {
  name: string;
  /** None means all symbols of the source. */
  symbols: string[];
  bars: string;
  horizonS: number;
  trees: number;
  seed: number;
}

export const DEFAULT_CHOICE: RunChoice = {
  name: 'page',
  symbols: [],
  bars: 'tick:50',
  horizonS: 30,
  trees: 200,
  seed: 7,
};

export function experimentConfig(choice: RunChoice): Record<string, unknown> {
  return {
    name: choice.name.trim(),
    symbols: choice.symbols,
    bars: choice.bars.trim(),
    feature_set: 'core',
    label: { kind: 'sign_return', horizon_s: choice.horizonS },
    model: { n_estimators: choice.trees, seed: choice.seed },
  };
}
