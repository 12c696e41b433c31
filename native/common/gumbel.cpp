#include "common/gumbel.h"

namespace lockstep {

uint32_t gumbel_word(PhiloxKey key, uint32_t position, uint32_t choice, int32_t id) {
  const uint32_t within = static_cast<uint32_t>(id) % kGumbelTile;
  uint32_t four[4];
  four_gumbel_words(key, position, choice, static_cast<uint32_t>(id) / kGumbelTile, within % kGumbelCounters, four);
  return four[within / kGumbelCounters];
}

}  // namespace lockstep
