import type { components } from './schema.gen';

type Schemas = components['schemas'];

export type BarItem = Schemas['BarItem'];
export type DataStatus = Schemas['DataStatus'];
export type ExperimentItem = Schemas['ExperimentItem'];
export type GateRule = Schemas['GateRule'];
export type ModelDetail = Schemas['ModelDetail'];
export type PointerItem = Schemas['PointerItem'];
export type ServiceState = Schemas['ServiceState'];
export type SignalItem = Schemas['SignalItem'];
export type SymbolStatus = Schemas['SymbolStatus'];

/** A list as the channels and the REST calls carry it. */
export interface Items<T> {
  items: T[];
}
