//! Scans (B.2.3): the order of MCUs, and restart intervals.

use super::{
    bit_reader::{BitReader, EntropyCoded, Window},
    frame::{BlockPlace, Coding, Component, Frame, ScanComponent},
    huffman::{AcTable, DcTable, ProgressiveAcTable, TableSpec},
    progressive::{AcScan, Selection},
    scale::Scale,
    tables::Tables,
};

/// A component that a scan header names, with the tables that it names for it.
type Named<'t> = (usize, Option<&'t TableSpec>, Option<&'t TableSpec>);

impl Frame {
    /// Decodes a scan as far as the file has it. `None` if it is damaged without restart markers to continue at, or of a
    /// kind that is not decoded, or `stop` says so.
    pub(super) fn decode_scan(
        &mut self,
        header: &[u8],
        tables: &Tables,
        data: &mut EntropyCoded<'_>,
        stop: &dyn Fn() -> bool,
    ) -> Option<()> {
        let (&count, rest) = header.split_first()?;
        let (selectors, rest) = rest.split_at_checked(usize::from(count) * 2)?;
        let selection = if self.process.is_sequential() { None } else { Some(Selection::parse(*rest.first_chunk()?)?) };
        let mut named = Vec::<Named<'_>>::new();
        for [id, destinations] in selectors.as_chunks::<2>().0 {
            // Some encoders give several components the same identifier, in the order of the frame header.
            let is_free = |index: usize| named.iter().all(|(other, ..)| *other != index);
            let index =
                (0..self.components.len()).find(|index| self.components[*index].id == *id && is_free(*index))?;
            let component = &mut self.components[index];
            component.set_quantization(tables.quantization.get(component.quantization_table)?.as_ref()?);
            let dc = tables.dc.get(usize::from(destinations >> 4))?.as_ref();
            let ac = tables.ac.get(usize::from(destinations & 15))?.as_ref();
            named.push((index, dc, ac));
        }
        // Only DC scans are interleaved (G.1.1.1.1).
        if selection.is_some_and(|it| !it.is_dc()) {
            let &[(index, ..)] = named.as_slice() else { return None };
            if self.components[index].scale == Scale::Eighth {
                return Some(());
            }
        }
        let mut parts = Vec::new();
        for (index, dc, ac) in named {
            let coding = match selection {
                None => Coding::Sequential(DcTable::new(dc?)?, AcTable::new(ac?)?),
                Some(selection) if !selection.is_dc() => {
                    Coding::Ac(AcScan { table: ProgressiveAcTable::new(ac?)?, selection })
                }
                Some(Selection { low_bit, is_refinement: true, .. }) => Coding::DcRefinement(low_bit),
                Some(Selection { low_bit, .. }) => Coding::DcFirst(DcTable::new(dc?)?, low_bit),
            };
            parts.push(ScanComponent { index, coding, prediction: 0, eob_run: 0 });
        }
        match selection {
            None => self.decode_mcus(&mut parts, data, tables.restart_interval, stop, Component::decode_sequential)?,
            Some(_) => {
                self.decode_mcus(&mut parts, data, tables.restart_interval, stop, Component::decode_progressive)?
            }
        }
        let completed = selection.map_or(u64::MAX, Selection::completes);
        for part in &parts {
            self.components[part.index].missing &= !completed;
        }
        Some(())
    }

    /// Decodes the MCUs of a scan in order (A.2). `stop` is asked before each row of them.
    fn decode_mcus(
        &mut self,
        parts: &mut [ScanComponent],
        data: &mut EntropyCoded<'_>,
        restart_interval: usize,
        stop: &dyn Fn() -> bool,
        decode: impl Fn(&mut Component, &mut ScanComponent, BitReader, &Window, BlockPlace) -> Option<BitReader>,
    ) -> Option<()> {
        let interleaved = parts.len() > 1;
        let (columns, rows) = if interleaved { self.mcus } else { self.components[parts.first()?.index].blocks };
        let mut until_restart = restart_interval;
        let mut restarts = Restarts::default();
        for row in 0..rows {
            if stop() {
                return None;
            }
            let mut has_more = true;
            for column in 0..columns {
                if restart_interval > 0 {
                    if until_restart == 0 {
                        if restarts.next(data).is_none() {
                            has_more = false;
                            break;
                        }
                        parts.iter_mut().for_each(|part| (part.prediction, part.eob_run) = (0, 0));
                        until_restart = restart_interval;
                    }
                    until_restart -= 1;
                    if restarts.is_lost {
                        continue;
                    }
                }
                let (mut bits, window) = data.start_mcu();
                'mcu: for part in &mut *parts {
                    let component = &mut self.components[part.index];
                    let (h, v) = if interleaved { component.sampling } else { (1, 1) };
                    for y in 0..v {
                        for x in 0..h {
                            let place = BlockPlace { column: column * h + x, row: row * v + y, mcu_row: y };
                            bits.refill(window);
                            match decode(component, part, bits, window, place) {
                                Some(next) => bits = next,
                                // Damage reaches as far as the next restart marker.
                                None if restart_interval > 0 => {
                                    restarts.is_lost = true;
                                    break 'mcu;
                                }
                                None => return None,
                            }
                        }
                    }
                }
                data.end_mcu(bits);
                // Behind a gap, restart markers allow to continue; behind the end of the data, nothing does.
                if data.is_overdrawn() && restart_interval == 0 {
                    has_more = false;
                    break;
                }
            }
            for part in &*parts {
                self.components[part.index].transform_row(row, interleaved);
            }
            if !has_more {
                break;
            }
        }
        Some(())
    }
}

/// The restart markers of a scan (E.1.4, F.1.1.5.2).
#[derive(Default)]
struct Restarts {
    /// The number of the next marker, modulo 8.
    number: u8,
    /// How many intervals, including the present one, are missing before the data continue.
    missing: u8,
    /// Whether the present interval is missing or damaged from here on.
    is_lost: bool,
}

impl Restarts {
    /// Starts the next interval. `None` if there are no more markers.
    ///
    /// As in libjpeg, a number one or two ahead of the expected one means that intervals are missing, one or two behind
    /// that the marker was already passed, and any other number is taken for the expected one.
    fn next(&mut self, data: &mut EntropyCoded<'_>) -> Option<()> {
        if self.missing > 0 {
            self.missing -= 1;
        } else {
            self.missing = loop {
                match data.restart()?.wrapping_sub(self.number) & 7 {
                    6 | 7 => {}
                    ahead @ (1 | 2) => break ahead,
                    _ => break 0,
                }
            };
        }
        self.number = (self.number + 1) & 7;
        self.is_lost = self.missing > 0;
        Some(())
    }
}
