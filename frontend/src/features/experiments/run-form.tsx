'use client';

import { type FormEvent, type ReactNode, useId, useState } from 'react';
import { useTranslations } from 'use-intl';

import { api, problemOfError, unwrap } from '@/api/client';
import type { Problem } from '@/api/problem';
import type { DataStatus } from '@/api/types';
import { DATA } from '@/live/channels';
import { useChannel } from '@/live/hooks';
import { Button } from '@/ui/button';
import { ProblemBox } from '@/ui/problem-box';

import { DEFAULT_CHOICE, type RunChoice, experimentConfig } from './config';

const INPUT =
  'h-8 w-full rounded-md border border-line bg-page px-2 text-[0.8125rem] text-ink hover:border-line-strong aria-invalid:border-down';

/** A small experiment: the rest of its configuration takes the trainer's defaults. */
export function RunForm({ onDone }: { onDone: () => void }) {
  const t = useTranslations('experiments.form');
  const { data } = useChannel<DataStatus>(DATA);
  const [choice, setChoice] = useState(DEFAULT_CHOICE);
  const [problem, setProblem] = useState<Problem>();
  const [sending, setSending] = useState(false);
  const set = (change: Partial<RunChoice>) => setChoice({ ...choice, ...change });

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setSending(true);
    setProblem(undefined);
    try {
      await unwrap(api.POST('/ml/experiments', { body: { config: experimentConfig(choice) } }));
      onDone();
    } catch (error) {
      setProblem(problemOfError(error));
      setSending(false);
    }
  };

  const wrong = (field: string) => problem?.field === `config.${field}`;
  const beside = ['name', 'bars', 'label.horizon_s', 'model.n_estimators', 'model.seed'].some(wrong);
  const toggle = (symbol: string) =>
    set({
      symbols: choice.symbols.includes(symbol)
        ? choice.symbols.filter((other) => other !== symbol)
        : [...choice.symbols, symbol],
    });
  return (
    <form onSubmit={(event) => void submit(event)} className="flex flex-col gap-3">
      <Field label={t('name')} hint={t('nameHint')} problem={wrong('name') ? problem : undefined}>
        {(ids) => (
          <input
            {...ids}
            className={INPUT}
            required
            maxLength={100}
            pattern="[A-Za-z0-9][A-Za-z0-9_.\-]*"
            value={choice.name}
            onChange={(event) => set({ name: event.target.value })}
          />
        )}
      </Field>
      <fieldset>
        <legend className="mb-1 text-xs font-medium">{t('symbols')}</legend>
        <div className="flex flex-wrap gap-1.5">
          {(data?.symbols ?? []).map(({ symbol }) => (
            <label
              key={symbol}
              className="inline-flex h-7 items-center gap-1.5 rounded-md border border-line px-2 text-xs has-checked:border-accent has-checked:bg-accent-soft"
            >
              <input
                type="checkbox"
                className="size-3.5 accent-(--accent)"
                checked={choice.symbols.includes(symbol)}
                onChange={() => toggle(symbol)}
              />
              {symbol}
            </label>
          ))}
        </div>
        <p className="mt-1 text-2xs text-ink-3">{choice.symbols.length === 0 ? t('symbolsAll') : t('symbolsSome', { n: choice.symbols.length })}</p>
      </fieldset>
      <div className="grid gap-3 sm:grid-cols-2">
        <Field label={t('bars')} hint={t('barsHint')} problem={wrong('bars') ? problem : undefined}>
          {(ids) => (
            <input
              {...ids}
              className={INPUT}
              required
              pattern="(tick|volume|dollar):[0-9.e]+|time:[0-9.]+s"
              value={choice.bars}
              onChange={(event) => set({ bars: event.target.value })}
            />
          )}
        </Field>
        <Field label={t('horizon')} hint={t('horizonHint')} problem={wrong('label.horizon_s') ? problem : undefined}>
          {(ids) => (
            <NumberInput {...ids} min={0.1} max={3600} step="any" value={choice.horizonS} onValue={(horizonS) => set({ horizonS })} />
          )}
        </Field>
        <Field label={t('trees')} hint={t('treesHint')} problem={wrong('model.n_estimators') ? problem : undefined}>
          {(ids) => <NumberInput {...ids} min={1} max={10000} step={1} value={choice.trees} onValue={(trees) => set({ trees })} />}
        </Field>
        <Field label={t('seed')} hint={t('seedHint')} problem={wrong('model.seed') ? problem : undefined}>
          {(ids) => <NumberInput {...ids} min={0} max={2147483647} step={1} value={choice.seed} onValue={(seed) => set({ seed })} />}
        </Field>
      </div>
      {problem && !beside && <ProblemBox problem={problem} urgent />}
      <div className="mt-1 flex justify-end gap-2">
        <Button onClick={onDone}>{t('cancel')}</Button>
        <Button look="primary" type="submit" disabled={sending}>
          {sending ? t('sending') : t('start')}
        </Button>
      </div>
    </form>
  );
}

interface FieldIds {
  id: string;
  'aria-describedby': string;
  'aria-invalid': boolean;
}

/** A label, the input, and below it what it means or what is wrong with it. */
function Field({
  label,
  hint,
  problem,
  children,
}: {
  label: string;
  hint: string;
  problem?: Problem;
  children: (ids: FieldIds) => ReactNode;
}) {
  const id = useId();
  return (
    <div>
      <label htmlFor={id} className="mb-1 block text-xs font-medium">
        {label}
      </label>
      {children({ id, 'aria-describedby': `${id}-hint`, 'aria-invalid': problem !== undefined })}
      <p id={`${id}-hint`} className={`mt-1 text-2xs ${problem ? 'text-down' : 'text-ink-3'}`}>
        {problem ? `${problem.expected}; ${problem.actual}` : hint}
      </p>
    </div>
  );
}

/** Keeps what is typed while it is no number yet. */
function NumberInput({
  value,
  onValue,
  ...rest
}: FieldIds & { min: number; max: number; step: number | 'any'; value: number; onValue: (value: number) => void }) {
  const [text, setText] = useState(String(value));
  return (
    <input
      {...rest}
      type="number"
      required
      className={INPUT}
      value={text}
      onChange={(event) => {
        setText(event.target.value);
        if (Number.isFinite(event.target.valueAsNumber)) onValue(event.target.valueAsNumber);
      }}
    />
  );
}
