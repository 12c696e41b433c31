// What every test over the emulated devices asks at its end.
#pragma once

#include "check.h"
#include "fake/cuda_runtime.h"

namespace lockstep::test {

// No call that a real device would forgive or punish later, and nothing kept.
inline void expect_clean(Check& check) {
  for (const std::string& complaint : cuda_complaints()) check.expect(false, "%s", complaint.c_str());
  check.expect(cuda_leaks().empty(), "not given back: %s", cuda_leaks().c_str());
}

}  // namespace lockstep::test
