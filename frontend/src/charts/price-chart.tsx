'use client';

import { type KeyboardEvent, useEffect, useRef } from 'react';
import uPlot from 'uplot';

import { onColoursChange } from '@/view/theme';

import type { Mark, PriceData } from './price-data';
import { type Tokens, readTokens } from './tokens';

export interface PriceChartProps {
  data: PriceData;
  label: string;
  /** Text of an axis: `first` asks for the date too. */
  axisTime: (ms: number, withDate: boolean) => string;
  price: (value: number) => string;
  /** The bar under the cursor, null where it is elsewhere. */
  onCursor: (index: number | null) => void;
}

const RIGHT_AXIS_MIN = 52;

/** A line of closes with the signals on it. Drawn by uPlot, loaded only with this file. */
export default function PriceChart(props: PriceChartProps) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(props);
  const { data } = props;

  useEffect(() => {
    latest.current = props;
  });

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const tokens: { now: Tokens } = { now: readTokens(element) };
    const chart = new uPlot(options(element, tokens, latest), columns(latest.current.data), element);
    plot.current = chart;
    const resize = new ResizeObserver(() => {
      chart.setSize({ width: element.clientWidth, height: element.clientHeight });
    });
    resize.observe(element);
    const off = onColoursChange(() => {
      tokens.now = readTokens(element);
      chart.redraw(false, true);
    });
    return () => {
      off();
      resize.disconnect();
      chart.destroy();
      plot.current = null;
    };
  }, []);

  useEffect(() => {
    plot.current?.setData(columns(data));
  }, [data]);

  // Texts of the axes: another language or zone.
  useEffect(() => {
    plot.current?.redraw(false, true);
  }, [props.axisTime, props.price]);

  const onKeyDown = (event: KeyboardEvent) => {
    const chart = plot.current;
    const last = latest.current.data.closes.length - 1;
    if (!chart || last < 0) return;
    const now = chart.cursor.idx ?? last;
    const moves: Record<string, number> = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last };
    const step = event.shiftKey ? 10 : 1;
    const to = event.key.startsWith('Arrow') ? now + ((moves[event.key] ?? now) - now) * step : moves[event.key];
    if (to === undefined || moves[event.key] === undefined) {
      if (event.key === 'Escape') chart.setCursor({ left: -10, top: -10 });
      return;
    }
    event.preventDefault();
    const index = Math.max(0, Math.min(last, to));
    const value = latest.current.data.closes[index] ?? 0;
    chart.setCursor({ left: chart.valToPos(index, 'x'), top: chart.valToPos(value, 'y') });
  };

  return (
    <div
      ref={host}
      role="application"
      aria-label={props.label}
      tabIndex={0}
      onKeyDown={onKeyDown}
      className="h-full w-full overflow-hidden"
    />
  );
}

function columns(data: PriceData): uPlot.AlignedData {
  return [data.closes.map((_, index) => index), data.closes];
}

type Latest = { readonly current: PriceChartProps };

function options(element: HTMLElement, tokens: { now: Tokens }, latest: Latest): uPlot.Options {
  const grid = { stroke: () => tokens.now.line, width: 1 };
  return {
    width: element.clientWidth,
    height: element.clientHeight,
    padding: [14, 0, 0, 26],
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 7, width: 2, fill: () => tokens.now.panel } },
    scales: {
      x: { time: false, range: (_, min, max) => [min, max + Math.max(1, (max - min) * 0.02)] },
      y: { range: (_, min, max) => padded(min, max) },
    },
    series: [
      {},
      {
        stroke: () => tokens.now.accent,
        width: 1.5,
        points: { show: false },
        fill: (u) => fade(u, tokens.now.accent),
      },
    ],
    axes: [
      {
        stroke: () => tokens.now['ink-3'],
        font: tokens.now.font,
        grid: { show: false },
        ticks: { ...grid, size: 4 },
        size: 38,
        gap: 4,
        space: 76,
        incrs: [1, 2, 5, 10, 20, 25, 50, 100, 200],
        values: (_, splits) => axisTexts(splits, latest.current),
      },
      {
        side: 1,
        stroke: () => tokens.now['ink-3'],
        font: tokens.now.font,
        grid,
        ticks: { show: false },
        size: (u, values) => axisWidth(u, values, tokens.now.font),
        gap: 6,
        space: 36,
        values: (u, splits) => splits.map((value) => (besideLast(u, value, latest.current) ? '' : latest.current.price(value))),
      },
    ],
    hooks: {
      drawAxes: [(u) => drawDays(u, latest.current.data, tokens.now)],
      draw: [(u) => drawMarks(u, latest.current.data.marks, tokens.now), (u) => drawLast(u, latest.current, tokens.now)],
      setCursor: [(u) => latest.current.onCursor(u.cursor.left !== undefined && u.cursor.left >= 0 ? (u.cursor.idx ?? null) : null)],
    },
  };
}

/** Room above and below, so that marks do not touch the edge; a flat line gets a band of its own. */
function padded(min: number, max: number): [number, number] {
  if (!Number.isFinite(min) || !Number.isFinite(max)) return [0, 1];
  const room = max > min ? (max - min) * 0.12 : Math.max(Math.abs(max) * 1e-4, 1e-8);
  return [min - room, max + room];
}

function axisTexts(splits: number[], { data, axisTime }: PriceChartProps): string[] {
  let day: number | undefined;
  return splits.map((place) => {
    const bar = Number.isInteger(place) ? data.bars[place] : undefined;
    const ms = data.timesMs[place];
    if (bar === undefined || ms === undefined) return '';
    const withDate = bar.day !== day;
    day = bar.day;
    return axisTime(ms, withDate);
  });
}

/** Whether a label of the axis would stand under the one of the last price. */
function besideLast(u: uPlot, value: number, { data }: PriceChartProps): boolean {
  const last = data.closes.at(-1);
  return last !== undefined && Math.abs(u.valToPos(value, 'y') - u.valToPos(last, 'y')) < 14;
}

function axisWidth(u: uPlot, values: string[] | null, font: string): number {
  u.ctx.save();
  u.ctx.font = font;
  const widest = (values ?? []).reduce((most, text) => Math.max(most, u.ctx.measureText(text).width), 0);
  u.ctx.restore();
  return Math.max(RIGHT_AXIS_MIN, Math.ceil(widest) + 16);
}

function fade(u: uPlot, colour: string): CanvasGradient | string {
  const { top, height } = u.bbox;
  if (!Number.isFinite(top + height)) return 'transparent';
  const gradient = u.ctx.createLinearGradient(0, top, 0, top + height);
  gradient.addColorStop(0, `color-mix(in srgb, ${colour} 16%, transparent)`);
  gradient.addColorStop(1, `color-mix(in srgb, ${colour} 0%, transparent)`);
  return gradient;
}

function drawDays(u: uPlot, data: PriceData, tokens: Tokens): void {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.strokeStyle = tokens['line-strong'];
  ctx.setLineDash([2 * devicePixelRatio, 4 * devicePixelRatio]);
  for (const place of data.days) {
    const x = Math.round(u.valToPos(place - 0.5, 'x', true)) + 0.5;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

/** ▲ below the line for long, ▼ above it for short, ◆ on it for flat; hollow for shadow. */
function drawMarks(u: uPlot, marks: readonly Mark[], tokens: Tokens): void {
  const { ctx } = u;
  const unit = 5 * devicePixelRatio;
  ctx.save();
  ctx.lineWidth = 1.5 * devicePixelRatio;
  ctx.lineJoin = 'round';
  for (const { index, price, side, hollow } of marks) {
    const x = u.valToPos(index, 'x', true);
    const y = u.valToPos(price, 'y', true);
    const colour = side > 0 ? tokens.up : side < 0 ? tokens.down : tokens['ink-2'];
    ctx.beginPath();
    if (side === 0) diamond(ctx, x, y, unit * 0.8);
    else triangle(ctx, x, y + Math.sign(side) * unit * 1.9, unit, Math.sign(side));
    ctx.fillStyle = hollow ? tokens.panel : colour;
    ctx.strokeStyle = hollow ? colour : tokens.panel;
    if (hollow) {
      ctx.fill();
      ctx.stroke();
    } else {
      ctx.stroke();
      ctx.fill();
    }
  }
  ctx.restore();
}

function triangle(ctx: CanvasRenderingContext2D, x: number, y: number, size: number, up: number): void {
  ctx.moveTo(x, y - up * size);
  ctx.lineTo(x + size, y + up * size * 0.8);
  ctx.lineTo(x - size, y + up * size * 0.8);
  ctx.closePath();
}

function diamond(ctx: CanvasRenderingContext2D, x: number, y: number, size: number): void {
  ctx.moveTo(x, y - size);
  ctx.lineTo(x + size, y);
  ctx.lineTo(x, y + size);
  ctx.lineTo(x - size, y);
  ctx.closePath();
}

/** The last price as a label on its axis, and a dashed line to it. */
function drawLast(u: uPlot, { data, price }: PriceChartProps, tokens: Tokens): void {
  const last = data.closes.at(-1);
  if (last === undefined) return;
  const { ctx, bbox } = u;
  const ratio = devicePixelRatio;
  const y = Math.round(u.valToPos(last, 'y', true)) + 0.5;
  const right = bbox.left + bbox.width;
  ctx.save();
  ctx.strokeStyle = tokens.accent;
  ctx.globalAlpha = 0.6;
  ctx.setLineDash([3 * ratio, 3 * ratio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(right, y);
  ctx.stroke();
  ctx.globalAlpha = 1;
  ctx.setLineDash([]);
  ctx.font = tokens.font.replace('11px', `600 ${11 * ratio}px`);
  const text = price(last);
  const width = ctx.measureText(text).width + 8 * ratio;
  const height = 17 * ratio;
  ctx.fillStyle = tokens.accent;
  ctx.beginPath();
  ctx.roundRect(right + 2 * ratio, y - height / 2, width, height, 3 * ratio);
  ctx.fill();
  ctx.fillStyle = tokens.panel;
  ctx.textBaseline = 'middle';
  ctx.textAlign = 'left';
  ctx.fillText(text, right + 6 * ratio, y + 0.5 * ratio);
  ctx.restore();
}
