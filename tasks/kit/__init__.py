"""What packs are written with: kinds, forms, parsing, numbers, payloads, knobs, held-out files."""
