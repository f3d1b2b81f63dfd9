'use client';

import { useTranslations } from 'use-intl';

import type { GateRule } from '@/api/types';
import { type Formats, useFormats } from '@/view/formats';

import { Icon } from './icon';

/** How a rule's figure is held against its limit; a rule that is not listed shows its figures alone. */
const RULES = {
  net_vs_flat: { compare: '≤', prefix: 'p ' },
  net_vs_linear: { compare: '≤', prefix: 'p ' },
  periods: { compare: '≥', prefix: '' },
  trades: { compare: '≥', prefix: '' },
  deflated_sharpe: { compare: '≥', prefix: 'p ' },
  parity_model: { compare: '≤', prefix: 'Δ ' },
  parity_features: { compare: '=', prefix: '' },
  parity_live: { compare: '=', prefix: '' },
  latency: { compare: '≤', prefix: '' },
  pair_live: { compare: '', prefix: '' },
  policy: { compare: '', prefix: '' },
} as const;

type RuleId = keyof typeof RULES;

const isKnown = (id: string): id is RuleId => id in RULES;

/** The promotion gate as a checklist: rule, figure against limit, and why. */
export function GateChecklist({ rules }: { rules: readonly GateRule[] }) {
  const t = useTranslations('gate');
  const formats = useFormats();
  return (
    <ul className="divide-y divide-line">
      {rules.map((rule) => (
        <li key={rule.id} className="flex gap-2 py-1.5">
          <span className={`mt-0.5 ${rule.passed ? 'text-up' : 'text-down'}`}>
            <Icon name={rule.passed ? 'check' : 'cross'} size={14} />
            <span className="sr-only">{rule.passed ? t('passed') : t('failed')}</span>
          </span>
          <div className="min-w-0 flex-1 text-xs leading-4">
            <p className="flex flex-wrap justify-between gap-x-3">
              <span className="font-medium">{isKnown(rule.id) ? t(`rule.${rule.id}`) : rule.id}</span>
              <span className="whitespace-nowrap text-ink-2">{figures(rule, formats)}</span>
            </p>
            {rule.reason && <p className="mt-0.5 break-words text-ink-3">{rule.reason}</p>}
          </div>
        </li>
      ))}
    </ul>
  );
}

/** `p 0.31 > 0.05`: the sign says how the figure stands to the limit, not whether the rule holds. */
function figures(rule: GateRule, formats: Formats): string {
  if (rule.value === null || rule.value === undefined) return '–';
  if (rule.id === 'pair_live' || rule.id === 'policy') return '';
  const { compare, prefix } = isKnown(rule.id) ? RULES[rule.id] : { compare: '/', prefix: '' };
  const unit = rule.id === 'latency' ? ' µs' : '';
  const value = `${prefix}${formats.figure(rule.value)}${unit}`;
  if (rule.limit === null || rule.limit === undefined) return value;
  return `${value} ${relation(rule.value, rule.limit, compare)} ${formats.figure(rule.limit)}${unit}`;
}

function relation(value: number, limit: number, compare: string): string {
  if (compare === '≤') return value <= limit ? '≤' : '>';
  if (compare === '≥') return value >= limit ? '≥' : '<';
  if (compare === '=') return value === limit ? '=' : '≠';
  return compare;
}
