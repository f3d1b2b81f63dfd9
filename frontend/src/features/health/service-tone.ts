import type { ServiceState } from '@/api/types';
import type { Tone } from '@/ui/badge';

export function serviceTone(service: ServiceState): Tone {
  return !service.up ? 'bad' : service.ready ? 'good' : 'warn';
}
