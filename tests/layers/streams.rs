//! Deflate streams of every making, honest and not, through `LayerWriter::deflated`.

use std::io::{Read, Write};

use dlpack::layer::{Compression, Error, Layer, LayerWriter, Threads};
use dlpack::store::Store;
use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::{MTIME, deflated, noise, pipe, root, store, unpacked};

/// A layer with one stream.
fn spliced(store: &Store, content: (u64, u32), raw: &[u8]) -> Result<Layer, Error> {
    let mut layer = LayerWriter::on(store, Compression::Gzip, MTIME, Threads::One)?;
    layer.deflated("stream", root(0o644), content.0, content.1, raw, &mut |_| {})?;
    layer.complete()
}

fn honest(content: &[u8]) -> (u64, u32) {
    (content.len() as u64, crc32fast::hash(content))
}

/// The contents of a tar's files.
fn contents(tar: &[u8]) -> Vec<Vec<u8>> {
    let mut archive = tar::Archive::new(tar);
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut content = Vec::new();
        entry.unwrap().read_to_end(&mut content).unwrap();
        content
    };
    archive.entries().unwrap().map(read).collect()
}

/// Splices all into one layer, and compares what gunzip makes of it.
fn check(streams: &[(Vec<u8>, Vec<u8>)], threads: Threads) {
    let (_directory, store) = store();
    let mut layer = LayerWriter::on(&store, Compression::Gzip, MTIME, threads).unwrap();
    for (number, (content, raw)) in streams.iter().enumerate() {
        let (size, crc) = honest(content);
        let mut seen = Vec::new();
        let path = format!("{number:06}");
        layer
            .deflated(&path, root(0o644), size, crc, &raw[..], &mut |bytes| seen.extend_from_slice(bytes))
            .unwrap_or_else(|error| panic!("stream {number} of {} bytes: {error}", raw.len()));
        assert!(seen == *content, "stream {number}");
    }
    let layer = layer.complete().unwrap();
    let found = contents(&unpacked(&store, &layer));
    assert_eq!(found.len(), streams.len());
    for (number, (found, (content, _))) in found.iter().zip(streams).enumerate() {
        assert!(found == content, "stream {number} came out differently");
    }
}

/// Something between text and noise, by chance.
fn content(random: &mut fastrand::Rng, longest: usize) -> Vec<u8> {
    let length = random.usize(0..=longest);
    let alphabet = random.u8(1..=255);
    let mut content = Vec::with_capacity(length);
    while content.len() < length {
        if content.is_empty() || random.u8(..) < 200 {
            let run = random.usize(1..40);
            content.extend(std::iter::repeat_with(|| random.u8(0..alphabet)).take(run));
        } else {
            let reach = if random.bool() { 300 } else { 32768 };
            let back = random.usize(1..=content.len().min(reach));
            for _ in 0..random.usize(3..400) {
                content.push(content[content.len() - back]);
            }
        }
    }
    content.truncate(length);
    content
}

/// The raw stream of `content`, with flushes here and there.
fn compressed(random: &mut fastrand::Rng, content: &[u8]) -> Vec<u8> {
    let mut encoder = Compress::new(flate2::Compression::new(random.u32(0..=9)), false);
    let mut raw = Vec::with_capacity(content.len() + content.len() / 10 + 100);
    let mut rest = content;
    while random.u8(..) < 100 && !rest.is_empty() {
        let (now, later) = rest.split_at(random.usize(0..=rest.len()));
        let flush = [FlushCompress::None, FlushCompress::Partial, FlushCompress::Sync, FlushCompress::Full];
        drive(&mut encoder, now, &mut raw, flush[random.usize(0..4)]);
        rest = later;
    }
    drive(&mut encoder, rest, &mut raw, FlushCompress::Finish);
    raw
}

fn drive(encoder: &mut Compress, mut input: &[u8], raw: &mut Vec<u8>, flush: FlushCompress) {
    loop {
        raw.reserve(4096);
        let before = encoder.total_in();
        let status = encoder.compress_vec(input, raw, flush).unwrap();
        input = &input[(encoder.total_in() - before) as usize..];
        let is_full = raw.len() == raw.capacity();
        if status == Status::StreamEnd || (flush != FlushCompress::Finish && input.is_empty() && !is_full) {
            return;
        }
    }
}

#[test]
fn thousands_of_random_streams_come_out_as_they_went_in() {
    let mut random = fastrand::Rng::with_seed(20);
    let mut streams = Vec::new();
    for number in 0..3000 {
        let longest = if number % 100 == 0 { 400_000 } else { 3000 };
        let content = content(&mut random, longest);
        let raw = compressed(&mut random, &content);
        streams.push((content, raw));
    }
    check(&streams, Threads::Several);
}

/// zlib by Python: its levels, strategies, window and memory sizes, so that streams
/// end on every bit of a byte, in stored, fixed and dynamic blocks.
#[test]
fn streams_of_every_level_and_strategy_of_zlib_are_spliced() {
    let script = r#"
import random, struct, sys, zlib
random.seed(7)
texts = [b"", b"a", b"ab" * 9, bytes(range(256)), bytes(70000), b"a dynamic block wants some text to be worth its codes " * 40,
         bytes(random.choices(b"etaoin shrdlu\n", k=40000)), random.randbytes(66000), random.randbytes(300)]
texts += [bytes(random.choices(b"etaoin shrdlu\n", k=n)) for n in range(20, 60)]
for text in texts:
    for level in range(10):
        for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED):
            for bits, memory in ((-15, 8), (-9, 1)):
                z = zlib.compressobj(level, zlib.DEFLATED, bits, memory, strategy)
                raw = z.compress(text) + z.flush()
                sys.stdout.buffer.write(struct.pack("<II", len(text), len(raw)) + text + raw)
"#;
    let packed = pipe(&["python3", "-c", script], b"");
    let mut rest = packed.as_slice();
    let mut streams = Vec::new();
    let mut kinds = [false; 3];
    while let Some((lengths, after)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, e, f, g, h] = lengths.map(u32::from);
        let (text, after) = after.split_at((a | b << 8 | c << 16 | d << 24) as usize);
        let (raw, after) = after.split_at((e | f << 8 | g << 16 | h << 24) as usize);
        kinds[usize::from(raw[0] >> 1 & 3)] = true;
        streams.push((text.to_vec(), raw.to_vec()));
        rest = after;
    }
    assert_eq!(kinds, [true; 3], "stored, fixed and dynamic blocks are among them");
    assert_eq!(streams.len(), 49 * 10 * 5 * 2);
    check(&streams, Threads::One);
}

/// Literals of 8 and 9 bits in a fixed block, by hand: every end that there is.
#[test]
fn a_stream_may_end_on_any_bit() {
    let mut streams = Vec::new();
    let mut ends = [false; 8];
    for nines in 0..8 {
        let mut bits: Vec<bool> = vec![true, true, false];
        let content = vec![255; nines];
        // RFC 1951, 3.2.6: 255 is 111111111; the end of the block is 0000000.
        bits.extend(std::iter::repeat_n(true, 9 * nines));
        bits.extend([false; 7]);
        ends[bits.len() % 8] = true;
        for padding in [false, true] {
            let mut padded = bits.clone();
            padded.resize(bits.len().next_multiple_of(8), padding);
            let byte = |bits: &[bool]| bits.iter().enumerate().fold(0, |byte, (at, &bit)| byte | u8::from(bit) << at);
            streams.push((content.clone(), padded.chunks(8).map(byte).collect()));
        }
    }
    assert_eq!(ends, [true; 8]);
    check(&streams, Threads::One);
}

#[test]
fn seventy_megabytes_of_noise_are_spliced_and_written() {
    let content = noise(3, 70_000_000);
    let (_directory, store) = store();
    let mut layer = LayerWriter::new(&store, Compression::Gzip, MTIME).unwrap();
    let (size, crc) = honest(&content);
    let raw = deflated(&content, 1);
    layer.deflated("spliced", root(0o644), size, crc, &raw[..], &mut |_| {}).unwrap();
    let written = &content[..8_000_000];
    layer.file("written", root(0o644), written).unwrap();
    let layer = layer.complete().unwrap();
    let overhead = layer.descriptor.size - (raw.len() + written.len()) as u64;
    assert!(overhead < 2000, "{overhead} bytes");
    let found = contents(&unpacked(&store, &layer));
    assert!(found[0] == content && found[1] == written);
}

#[test]
fn a_reader_may_return_as_little_as_it_likes() {
    struct Trickle<'a>(&'a [u8]);
    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let most = buffer.len().min(1 + self.0.len() % 7);
            self.0.read(&mut buffer[..most])
        }
    }
    let mut random = fastrand::Rng::with_seed(4);
    let content = content(&mut random, 300_000);
    let (raw, (size, crc)) = (deflated(&content, 6), honest(&content));
    let (_directory, store) = store();
    let whole = spliced(&store, (size, crc), &raw).unwrap();
    let mut layer = LayerWriter::new(&store, Compression::Gzip, MTIME).unwrap();
    layer.deflated("stream", root(0o644), size, crc, Trickle(&raw), &mut |_| {}).unwrap();
    assert_eq!(layer.complete().unwrap(), whole);
}

#[test]
fn a_stream_that_is_not_what_was_announced_is_refused() {
    let content = b"some content, some more content, and some more".repeat(50);
    let (size, crc) = honest(&content);
    let raw = deflated(&content, 6);
    let (_directory, store) = store();
    let refused = |announced: (u64, u32), raw: &[u8]| spliced(&store, announced, raw).unwrap_err().to_string();
    let expect = |what: &str| format!("`stream` is not what was announced: {what}");

    let longer = [&raw[..], b"!"].concat();
    assert_eq!(refused((size, crc), &longer), expect("not a deflate stream: bytes follow the end of the stream"));
    for cut in 0..raw.len() {
        assert_eq!(
            refused((size, crc), &raw[..cut]),
            expect("not a deflate stream: the stream breaks off"),
            "at {cut}"
        );
    }
    assert_eq!(refused((size - 1, crc), &raw), expect("it inflates to more than 2299 bytes"));
    assert_eq!(refused((size + 1, crc), &raw), expect("it inflates to 2300 bytes, not 2301"));
    assert_eq!(refused((size, !crc), &raw), expect(&format!("its CRC-32 is {crc:08x}, not {:08x}", !crc)));
    assert_eq!(refused((size, crc), &[7]), expect("not a deflate stream: a block of an unknown type"));
    // A fixed block of one match: three bytes, one back, from before the beginning.
    let before = [0b0000_0011, 0b0000_0010, 0b0000_0000, 0];
    assert_eq!(refused((3, 0), &before), expect("not a deflate stream: a match that reaches before the beginning"));
}

#[test]
fn a_bomb_ends_at_the_announced_size() {
    let mut raw = Vec::new();
    let mut encoder = flate2::write::DeflateEncoder::new(&mut raw, flate2::Compression::new(9));
    std::io::copy(&mut std::io::repeat(0).take(300_000_000), &mut encoder).unwrap();
    encoder.finish().unwrap();
    let (_directory, store) = store();
    let mut seen = 0;
    let mut layer = LayerWriter::new(&store, Compression::Gzip, MTIME).unwrap();
    let error = layer.deflated("bomb", root(0o644), 1000, 0, &raw[..], &mut |bytes| seen += bytes.len()).unwrap_err();
    assert_eq!(error.to_string(), "`bomb` is not what was announced: it inflates to more than 1000 bytes");
    assert!(seen <= 1000);
}

/// What zlib makes of a raw stream: its content, if it is one and nothing follows.
fn by_zlib(raw: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = Decompress::new(false);
    let mut content = Vec::with_capacity(100_000);
    loop {
        let status = decoder.decompress_vec(&raw[decoder.total_in() as usize..], &mut content, FlushDecompress::None);
        match status {
            Ok(Status::StreamEnd) => return (decoder.total_in() == raw.len() as u64).then_some(content),
            Ok(_) if content.len() == content.capacity() && content.len() < 5_000_000 => content.reserve(100_000),
            _ => return None,
        }
    }
}

/// What zlib refuses, runtimes refuse to unpack; what it takes may stand in a wheel.
#[test]
fn damaged_streams_are_taken_or_refused_as_zlib_does() {
    let mut random = fastrand::Rng::with_seed(5);
    let (_directory, store) = store();
    let (mut taken, mut refused) = (0, 0);
    for round in 0..4000 {
        let content = content(&mut random, 600);
        let mut raw = compressed(&mut random, &content);
        for _ in 0..random.usize(1..4) {
            // The first bytes are where the codes stand.
            let reach = if random.bool() { raw.len().min(60) } else { raw.len() };
            raw[random.usize(0..reach)] ^= 1 << random.u8(0..8);
        }
        let announced = by_zlib(&raw);
        let (size, crc) = announced.as_deref().map_or((u64::MAX >> 2, 0), honest);
        let mut layer = LayerWriter::on(&store, Compression::Gzip, MTIME, Threads::One).unwrap();
        let mut seen = Vec::new();
        let mut inspect = |bytes: &[u8]| seen.extend_from_slice(bytes);
        let result = layer.deflated("stream", root(0o644), size, crc, &raw[..], &mut inspect);
        match (announced, result) {
            (Some(content), Ok(())) => {
                assert!(seen == content, "round {round}");
                taken += 1;
            }
            (None, Err(error)) => {
                assert!(error.to_string().contains("not a deflate stream"), "round {round}: {error}");
                refused += 1;
            }
            (announced, result) => panic!("round {round}: zlib {}, we {result:?}", announced.is_some()),
        }
    }
    assert!(taken > 200 && refused > 1000, "{taken} taken, {refused} refused");
}

/// Codes that use every length up to 15 bits need the second tables.
#[test]
fn codes_of_fifteen_bits_are_read() {
    // Symbol counts that grow as Fibonacci's numbers make a Huffman code as deep as it gets.
    let mut content = Vec::new();
    let (mut one, mut other) = (1usize, 1usize);
    for symbol in 0..20u8 {
        content.extend(std::iter::repeat_n(symbol * 13, one));
        (one, other) = (other, one + other);
    }
    fastrand::Rng::with_seed(6).shuffle(&mut content);
    let mut encoder = Vec::new();
    encoder.write_all(&deflated(&content, 9)).unwrap();
    check(&[(content, encoder)], Threads::One);
}
