// Like xf-render-bench, with sharp and its defaults. FORMAT `raw-png` writes the input as a PNG of its own size.
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import sharp from 'sharp'

const string = { type: 'string' }
const { values: args } = parseArgs({
  options: { input: string, width: string, format: string, quality: string, threads: string, warm: string, iters: string, out: string },
})
sharp.cache(false)
sharp.concurrency(Number(args.threads ?? 1))
const original = readFileSync(args.input)
const quality = args.quality ? { quality: Number(args.quality) } : {}

async function render() {
  if (args.format === 'raw-png') return sharp(original).png({ compressionLevel: 1 }).toBuffer()
  const resized = sharp(original).autoOrient().resize({ width: Number(args.width), withoutEnlargement: true })
  return resized.toFormat(args.format, quality).toBuffer()
}

const [wall, cpu] = [[], []]
const [warm, iters] = [Number(args.warm ?? 1), Number(args.iters ?? 5)]
let variant
for (let round = 0; round < warm + iters; round++) {
  const [started, used] = [performance.now(), process.cpuUsage()]
  variant = await render()
  const { user, system } = process.cpuUsage(used)
  if (round >= warm) {
    wall.push(performance.now() - started)
    cpu.push((user + system) / 1e3)
  }
}
if (args.out) writeFileSync(args.out, variant)
// Not resourceUsage().maxRSS, which starts with the parent's value.
const maxrss_kb = Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1])
console.log(JSON.stringify({ wall_ms: wall, cpu_ms: cpu, bytes: variant.length, maxrss_kb }))
