//! A reader of DEFLATE (RFC 1951) that looks at references and nothing else: an oracle that shares
//! no line with the library.

struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> usize {
        (0..count).fold(0, |value, index| {
            let bit = self.bytes[self.position / 8] >> (self.position % 8) & 1;
            self.position += 1;
            value | usize::from(bit) << index
        })
    }

    fn align(&mut self) {
        self.position = self.position.next_multiple_of(8);
    }

    fn is_used_up(&self) -> bool {
        self.position.div_ceil(8) >= self.bytes.len()
    }
}

/// A prefix code: for each length how many there are, and the symbols in order (section 3.2.2).
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[usize]) -> Self {
        let mut counts = [0; 16];
        for length in lengths {
            counts[*length] += usize::from(*length > 0);
        }
        let symbols = (1..16).flat_map(|wanted| {
            let matching = lengths.iter().enumerate();
            matching.filter_map(move |(symbol, length)| (*length == wanted).then_some(symbol))
        });
        Self {
            counts,
            symbols: symbols.collect(),
        }
    }

    fn read(&self, bits: &mut Bits<'_>) -> usize {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code |= bits.take(1);
            if code < first + count {
                return self.symbols[index + code - first];
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        panic!("no symbol has this code")
    }
}

/// Section 3.2.5: extra bits of a length's symbol, and the base and extra bits of a distance's.
fn length_extra(symbol: usize) -> u32 {
    match symbol {
        257..=264 | 285 => 0,
        _ => (symbol as u32 - 261) / 4,
    }
}

fn distance(symbol: usize, bits: &mut Bits<'_>) -> usize {
    if symbol < 4 {
        return symbol + 1;
    }
    let extra = symbol as u32 / 2 - 1;
    (((2 + symbol % 2) << extra) + 1) + bits.take(extra)
}

fn fixed() -> (Code, Code) {
    let mut lengths = [8; 288];
    lengths[144..256].fill(9);
    lengths[256..280].fill(7);
    (Code::new(&lengths), Code::new(&[5; 30]))
}

fn dynamic(bits: &mut Bits<'_>) -> (Code, Code) {
    const ORDER: [usize; 19] = [
        16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
    ];
    let (literals, distances, codes) = (bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4);
    let mut of_lengths = [0; 19];
    for place in &ORDER[..codes] {
        of_lengths[*place] = bits.take(3);
    }
    let of_lengths = Code::new(&of_lengths);
    let mut lengths: Vec<usize> = Vec::new();
    while lengths.len() < literals + distances {
        let (length, count) = match of_lengths.read(bits) {
            16 => (*lengths.last().unwrap(), 3 + bits.take(2)),
            17 => (0, 3 + bits.take(3)),
            18 => (0, 11 + bits.take(7)),
            length => (length, 1),
        };
        lengths.extend(std::iter::repeat_n(length, count));
    }
    (
        Code::new(&lengths[..literals]),
        Code::new(&lengths[literals..]),
    )
}

/// How far back the farthest reference of a raw stream reaches; 0 when there is none.
pub fn farthest_reference(stream: &[u8]) -> usize {
    let mut bits = Bits {
        bytes: stream,
        position: 0,
    };
    let mut farthest = 0;
    while !bits.is_used_up() {
        assert_eq!(bits.take(1), 0, "a sync flush writes no last block");
        let (literals, distances) = match bits.take(2) {
            0 => {
                bits.align();
                let length = bits.take(16);
                assert_eq!(bits.take(16), 0xffff - length);
                bits.position += 8 * length;
                continue;
            }
            1 => fixed(),
            _ => dynamic(&mut bits),
        };
        loop {
            match literals.read(&mut bits) {
                0..=255 => {}
                256 => break,
                symbol => {
                    bits.take(length_extra(symbol));
                    let symbol = distances.read(&mut bits);
                    farthest = farthest.max(distance(symbol, &mut bits));
                }
            }
        }
    }
    farthest
}
