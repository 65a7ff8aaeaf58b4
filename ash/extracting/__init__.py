"""What `ash.extraction` is made of: decoding, stems, shards, and the claims of processes that work together."""
