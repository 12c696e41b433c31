// Which states of a grammar cannot be told apart by so many bytes: those of a long string with a bound on its length, far from the bound.
#pragma once

#include <cstdint>
#include <vector>

#include "common/grammar.h"

namespace lockstep {

// [states] Two states of one number accept, go on with rules and tokens, and come to such states again for every text of at most `depth`
// bytes. Takes one pass over the tables and, for each further byte, the states that it tells apart.
std::vector<int32_t> alike_states(const GrammarTables& tables, int depth);

}  // namespace lockstep
