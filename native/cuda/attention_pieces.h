// The pieces of keys that attention's sums are made of, by position alone. They begin short, so that a short context too keeps more than
// one block for each KV head busy, and become longer, so that a long one is not mostly the joining of pieces: 8 of them up to 1,024, 36 up
// to 8,192, 84 up to 32,768.
#pragma once

#include "common/anywhere.h"

namespace lockstep::cuda {

constexpr int kShortestPiece = 128;

// Keys of the piece that has this one; it begins at a multiple of that.
LOCKSTEP_ANYWHERE constexpr int piece_length(int key) { return key < 1024 ? kShortestPiece : key < 8192 ? 256 : key < 32768 ? 512 : 1024; }
LOCKSTEP_ANYWHERE constexpr int piece_begin(int key) { return key / piece_length(key) * piece_length(key); }
LOCKSTEP_ANYWHERE constexpr int piece_end(int key) { return piece_begin(key) + piece_length(key); }

}  // namespace lockstep::cuda
