#include "common/thinking.h"

namespace lockstep {

bool MarkerSearch::push(int32_t id) {
  if (marker_.text_len == 0) return id == marker_.id;
  const int length = length_of(id);
  if (length == 0) matched_ = 0;  // a special token is no text, and nothing goes on behind it
  for (int i = 0; i < length; i++) {
    const uint8_t byte = texts_->bytes_of(id)[i];
    // The longest beginning of the marker that the bytes so far end with; markers are short.
    const auto is_border = [&](int count) {
      if (marker_.text[count] != byte) return false;
      for (int j = 0; j < count; j++) {
        if (marker_.text[j] != marker_.text[matched_ - count + j]) return false;
      }
      return true;
    };
    int count = matched_;
    while (count >= 0 && !is_border(count)) count--;
    matched_ = count + 1;
    if (matched_ == marker_.text_len) return true;
  }
  return false;
}

int MarkerSearch::push_first(int32_t id) {
  if (marker_.text_len == 0) return id == marker_.id ? 1 : -1;
  const int length = length_of(id);
  if (length == 0) return -1;
  for (int i = 0; i < length; i++) {
    const uint8_t byte = texts_->bytes_of(id)[i];
    const bool is_space = byte == ' ' || (byte >= '\t' && byte <= '\r');
    if (matched_ == 0 && is_space) continue;
    if (byte != marker_.text[matched_]) return -1;
    if (++matched_ == marker_.text_len) return 1;
  }
  return 0;
}

}  // namespace lockstep
