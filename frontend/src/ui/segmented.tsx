interface Option<T extends string | number> {
  value: T;
  label: string;
  /** Where the label is short. */
  name?: string;
}

/** A choice of a few, all of them visible: radio buttons in a row. */
export function Segmented<T extends string | number>({
  label,
  options,
  value,
  onChange,
}: {
  label: string;
  options: readonly Option<T>[];
  value: T;
  onChange: (value: T) => void;
}) {
  return (
    <div role="group" aria-label={label} className="inline-flex h-7 rounded-md border border-line bg-raised p-px">
      {options.map((option) => {
        const chosen = option.value === value;
        return (
          <button
            key={option.value}
            type="button"
            aria-pressed={chosen}
            aria-label={option.name}
            onClick={() => onChange(option.value)}
            className={`min-w-6 rounded-[5px] px-2 text-xs font-medium transition-colors ${
              chosen ? 'bg-panel text-ink shadow-sm ring-1 ring-line' : 'text-ink-2 hover:text-ink'
            }`}
          >
            {option.label}
          </button>
        );
      })}
    </div>
  );
}
