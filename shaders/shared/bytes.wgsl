// Bytes of the frame, low byte of a word first. Every index is clamped to the last word, so that no offset can read
// outside the buffer, whatever it is.

fn frame_word(index: u32) -> u32 {
    return frame[min(index, arrayLength(&frame) - 1u)];
}

fn frame_byte(at: u32) -> u32 {
    return (frame_word(at >> 2u) >> ((at & 3u) * 8u)) & 0xffu;
}

// Three bytes from any offset: 0x00RRGGBB where the frame has blue, green, red.
fn frame_color(at: u32) -> u32 {
    let shift = (at & 3u) * 8u;
    let low = frame_word(at >> 2u) >> shift;
    // Only a colour that starts in byte 2 or 3 of a word needs the next one; the mask keeps the shift below 32.
    let high = select(0u, frame_word((at >> 2u) + 1u) << ((32u - shift) & 31u), shift > 8u);
    return (low | high) & 0xffffffu;
}
