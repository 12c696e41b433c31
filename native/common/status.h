// Errors as values: nothing in native code throws, and nothing crosses N-API but a code and a text.
#pragma once

#include <string>
#include <utility>

namespace lockstep {

// What `rank.step` returns; the numbers are part of the contract with src/parallel.
enum class Fault : int {
  kNone = 0,
  kBadPlan = 1,    // the plan contradicts the group's bounds or what the rank knows of a row
  kTimeout = 2,    // another rank or thread made no progress before the deadline
  kAborted = 3,    // woken by abort()
  kNotLoaded = 4,  // step before every rank has loaded
  kNumerics = 5,   // logits are not numbers
  kLoad = 6,       // a weight cannot be read, cut or packed
  kDevice = 7,     // a device or its library failed; CUDA's errors stay until the process ends
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Fault fault, std::string text) : fault_(fault), text_(std::move(text)) {}
  bool ok() const { return fault_ == Fault::kNone; }
  Fault fault() const { return fault_; }
  const std::string& text() const { return text_; }

 private:
  Fault fault_ = Fault::kNone;
  std::string text_;  // empty when ok: no allocation on the way that goes well
};

#define LOCKSTEP_RETURN_IF_ERROR(expression)        \
  do {                                              \
    ::lockstep::Status status_of_it = (expression); \
    if (!status_of_it.ok()) return status_of_it;    \
  } while (false)

}  // namespace lockstep
