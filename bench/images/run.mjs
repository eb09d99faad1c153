// Prints for each case the time of the worker and of sharp, both on one core, alternating in the same run.
//
//   cargo build --release && npm ci && node run.mjs [--only TEXT] [--rounds N] [--core N]
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { corpus } from './corpus.mjs'

const here = import.meta.dirname
const { values: args } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    rounds: { type: 'string', default: '5' },
    core: { type: 'string', default: '1' },
  },
})

// Name, input, width, format, quality for sharp (its default, or ours), repetitions in a round.
const CASES = [
  ['12 MP', 'picos-12mp.jpg', 400, 'webp', 80, 5],
  ['12 MP, second photo', 'seeding-12mp.jpg', 400, 'webp', 80, 5],
  ['12 MP', 'picos-12mp.jpg', 800, 'webp', 80, 4],
  ['12 MP', 'picos-12mp.jpg', 1200, 'webp', 80, 3],
  ['24 MP', 'picos-24mp.jpg', 400, 'webp', 80, 4],
  ['progressive 12 MP', 'picos-12mp-progressive.jpg', 400, 'webp', 80, 3],
  ['progressive 12 MP', 'picos-12mp-progressive.jpg', 800, 'webp', 80, 3],
  ['800 x 600', 'picos-800.jpg', 400, 'webp', 80, 8],
  ['12 MP', 'picos-12mp.jpg', 400, 'jpeg', 80, 5],
  ['12 MP', 'picos-12mp.jpg', 1200, 'jpeg', 80, 4],
  ['12 MP', 'picos-12mp.jpg', 400, 'png', null, 5],
  ['12 MP', 'picos-12mp.jpg', 1200, 'png', null, 3],
  ['PNG photo 6 MP', 'photo-6mp.png', 800, 'webp', 80, 3],
  ['PNG screenshot 4 MP', 'screenshot-4mp.png', 800, 'webp', 80, 3],
  ['PNG with alpha 4 MP', 'rgba-4mp.png', 800, 'webp', 80, 3],
  ['WebP 12 MP', 'photo-12mp.webp', 400, 'webp', 80, 2],
  ['AVIF 12 MP', 'photo-12mp.avif', 400, 'webp', 80, 1],
  ['12 MP', 'picos-12mp.jpg', 400, 'avif', 50, 1],
  ['12 MP', 'picos-12mp.jpg', 800, 'avif', 50, 1],
  ['12 MP', 'picos-12mp.jpg', 1200, 'avif', 50, 1],
]
const LOADERS = { ours: [`${here}/target/release/xf-render-bench`], sharp: [process.execPath, `${here}/sharp.mjs`] }

const pinned = (command) => execFileSync('taskset', ['-c', args.core, ...command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1]
const flags = (options) => Object.entries(options).flatMap(([name, value]) => (value === null ? [] : [`--${name}`, String(value)]))

function measure(who, options) {
  const result = JSON.parse(pinned([...LOADERS[who], ...flags(options)]))
  return { ...result, cpu: median(result.cpu_ms) }
}

function png(path) {
  const out = `${path}.full.png`
  if (!existsSync(out)) measure('sharp', { input: path, format: 'raw-png', warm: 0, iters: 1, out })
  return out
}

function score(original, variant) {
  measure('sharp', { input: variant, format: 'raw-png', warm: 0, iters: 1, out: `${variant}.png` })
  return Number(execFileSync(`${here}/target/release/xf-score`, [png(original), `${variant}.png`], { encoding: 'utf8' }))
}

function compare([what, input, width, format, quality, iters]) {
  const path = `${here}/corpus/${input}`
  const sides = {}
  const ratios = []
  for (let round = 0; round < Number(args.rounds); round++) {
    const now = {}
    for (const who of round % 2 ? ['sharp', 'ours'] : ['ours', 'sharp']) {
      const out = `${here}/out/${who}.${format}`
      // The worker has a fixed quality.
      const asked = who === 'sharp' ? quality : null
      now[who] = measure(who, { input: path, width, format, quality: asked, threads: 1, warm: 1, iters, out })
      const side = (sides[who] ??= { cpu: [], rss: 0 })
      side.cpu.push(now[who].cpu)
      side.rss = Math.max(side.rss, now[who].maxrss_kb / 1024)
      side.bytes = now[who].bytes
    }
    ratios.push(now.ours.cpu / now.sharp.cpu)
  }
  for (const who of ['ours', 'sharp']) sides[who].score = score(path, `${here}/out/${who}.${format}`)
  const { ours, sharp } = sides
  const difference = ((ours.bytes / sharp.bytes - 1) * 100).toFixed(1)
  return [
    `${what} -> ${width} ${format}`,
    `**${median(ratios).toFixed(2)}**`,
    `${median(ours.cpu).toFixed(1)} / ${median(sharp.cpu).toFixed(1)}`,
    `${ours.bytes} / ${sharp.bytes} (${difference > 0 ? '+' : ''}${difference} %)`,
    `${ours.score.toFixed(2)} / ${sharp.score.toFixed(2)}`,
    `${ours.rss.toFixed(0)} / ${sharp.rss.toFixed(0)}`,
  ]
}

// Whole processes, from exec to exit, including file access.
function cold() {
  const options = flags({ input: `${here}/corpus/picos-12mp.jpg`, width: 400, format: 'webp', warm: 0, iters: 1 })
  const took = { ours: [], sharp: [] }
  for (let round = 0; round < 2 * Number(args.rounds); round++) {
    for (const who of ['ours', 'sharp']) {
      const started = performance.now()
      pinned([...LOADERS[who], ...options])
      took[who].push(performance.now() - started)
    }
  }
  const [ours, sharp] = [median(took.ours), median(took.sharp)]
  return ['cold process, 12 MP -> 400 webp', `**${(ours / sharp).toFixed(2)}**`, `${ours.toFixed(0)} / ${sharp.toFixed(0)} (wall)`, '', '', '']
}

await corpus(`${here}/corpus`)
mkdirSync(`${here}/out`, { recursive: true })
const row = (cells) => console.log(`| ${cells.join(' | ')} |`)
row(['case', 'ratio', 'CPU ms, ours / sharp', 'bytes', 'SSIMULACRA2', 'peak RSS, MB'])
row(['---', '---:', '---:', '---:', '---:', '---:'])
for (const it of CASES.filter((it) => `${it[0]} -> ${it[2]} ${it[3]}`.includes(args.only))) {
  try {
    row(compare(it))
  } catch (error) {
    row([`${it[0]} -> ${it[2]} ${it[3]}`, (error.stderr ?? error.message).trim().split('\n').at(-1), '', '', '', ''])
  }
}
if ('cold'.includes(args.only)) row(cold())
