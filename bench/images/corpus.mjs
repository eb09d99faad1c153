// Creates the corpus from two photographs of a Debian package with suitable licences: *seeding* is CC0, *picos* is by
// Aitzol Berasategi under CC BY 4.0. Both are enlarged and get sensor noise, because enlarged images alone are smoother
// than a camera's and would favour all encoders.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import sharp from 'sharp'

const PACKAGE = 'https://deb.debian.org/debian/pool/main/l/lomiri-wallpapers/lomiri-wallpapers-16.04_20.04.0-2_all.deb'
const SHA256 = 'a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab'
const PHOTOS = {
  picos: 'usr/share/backgrounds/picosdeeuropa_by_Aitzol_Berasategi.jpg',
  seeding: 'usr/share/backgrounds/seeding_by_Clements_Engelhardt.jpg',
}

async function photos(dir) {
  const response = await fetch(PACKAGE)
  if (!response.ok) throw new Error(`${PACKAGE}: ${response.status}`)
  const deb = Buffer.from(await response.arrayBuffer())
  if (createHash('sha256').update(deb).digest('hex') !== SHA256) throw new Error('the package is not the expected one')
  writeFileSync(`${dir}/photos.deb`, deb)
  execFileSync('ar', ['x', 'photos.deb', 'data.tar.xz'], { cwd: dir })
  execFileSync('tar', ['xf', 'data.tar.xz', ...Object.values(PHOTOS).map((path) => `./${path}`)], { cwd: dir })
}

// Noise of about two levels, the same in every run.
function noisy(samples) {
  let state = 0x9e3779b9
  for (let at = 0; at < samples.length; at++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    const noise = ((state & 7) + ((state >>> 3) & 7) - 7) / 3
    samples[at] = Math.max(0, Math.min(255, Math.round(samples[at] + noise)))
  }
}

async function enlarged(path, width, height) {
  const { data, info } = await sharp(path).resize(width, height, { kernel: 'lanczos3' }).removeAlpha().raw()
    .toBuffer({ resolveWithObject: true })
  noisy(data)
  return sharp(data, { raw: { width: info.width, height: info.height, channels: 3 } })
}

function screenshot(width, height) {
  const rows = Array.from({ length: Math.floor(height / 28) }, (_, row) => {
    const words = Array.from({ length: 14 }, (_, word) => {
      const [x, length] = [60 + word * 150 + ((row * 37) % 60), 40 + ((row * 13 + word * 29) % 90)]
      return `<rect x="${x}" y="${row * 28 + 9}" width="${length}" height="11" rx="2" fill="#${(word % 5) * 2}3${row % 9}a4f"/>`
    })
    return `<rect y="${row * 28}" width="${width}" height="28" fill="${row % 2 ? '#ffffff' : '#f4f6f8'}"/>${words.join('')}`
  })
  return sharp(Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${rows.join('')}</svg>`))
}

export async function corpus(dir) {
  if (existsSync(`${dir}/done`)) return
  mkdirSync(dir, { recursive: true })
  await photos(dir)
  const jpeg = { quality: 90, chromaSubsampling: '4:2:0' }
  for (const [name, path] of Object.entries(PHOTOS)) {
    const source = `${dir}/${path}`
    const photo = await enlarged(source, 4000, 3000)
    await photo.clone().jpeg(jpeg).toFile(`${dir}/${name}-12mp.jpg`)
    await photo.clone().jpeg({ ...jpeg, progressive: true }).toFile(`${dir}/${name}-12mp-progressive.jpg`)
    if (name !== 'picos') continue
    await (await enlarged(source, 6000, 4000)).jpeg(jpeg).toFile(`${dir}/${name}-24mp.jpg`)
    await (await enlarged(source, 800, 600)).jpeg(jpeg).toFile(`${dir}/${name}-800.jpg`)
    const six = await enlarged(source, 3000, 2000)
    await six.clone().png().toFile(`${dir}/photo-6mp.png`)
    const fade = Buffer.from('<svg width="2000" height="2000"><circle cx="1000" cy="1000" r="900" fill="#fff" fill-opacity="0.8"/></svg>')
    const square = await (await enlarged(source, 2000, 2000)).png().toBuffer()
    await sharp(square).ensureAlpha().composite([{ input: fade, blend: 'dest-in' }]).png().toFile(`${dir}/rgba-4mp.png`)
    await photo.clone().webp({ quality: 90 }).toFile(`${dir}/photo-12mp.webp`)
    await photo.clone().avif({ quality: 70, effort: 2 }).toFile(`${dir}/photo-12mp.avif`)
  }
  await screenshot(2560, 1440).removeAlpha().png().toFile(`${dir}/screenshot-4mp.png`)
  writeFileSync(`${dir}/done`, createHash('sha256').update(readFileSync(`${dir}/picos-12mp.jpg`)).digest('hex'))
}
