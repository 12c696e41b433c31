// After the same sources as native/cuda/wgmma.cuh. Compiled as a kernel's file is, emulate.h first.
#include "cuda/wgmma.cuh"

#include <deque>
#include <map>
#include <type_traits>
#include <vector>

namespace lockstep::test {
namespace {

using namespace cuda;

constexpr uint32_t kSharedStart = 16;
constexpr uint32_t kRowBytes = 128, kPiece = 16;  // of the layout of 128 bytes

// An encoded map is this. No padding: a launch looks through its arguments for pointers.
struct Mapped {
  const uint8_t* data;
  uint64_t columns, rows, row_bytes;
  uint32_t box_columns, box_rows;
  uint64_t is_swizzled;
};
static_assert(sizeof(Mapped) <= sizeof(TensorMap) && std::has_unique_object_representations_v<Mapped>);

struct TileCopy {
  Mapped map;
  uint32_t to;  // shared address
  int column, row;
  uint32_t bytes() const { return map.box_columns * map.box_rows * static_cast<uint32_t>(sizeof(uint16_t)); }
};

struct Phases {
  uint32_t arrivals, pending;
  uint32_t ended = 0;  // phases
  int64_t bytes = 0;   // that are expected
  bool is_shown = false;
  std::vector<TileCopy> copies;
};

struct Product {
  float* d;
  uint64_t a, b;
  bool adds;
  bool reads_like(const Product& other) const { return a == other.a && b == other.b && adds == other.adds; }
};
struct Products {
  std::deque<std::vector<Product>> groups{1};  // the last is not ended
  bool may_begin = false;
};

// Of the block that runs.
struct Async {
  std::map<const void*, Phases> phases;
  std::vector<Products> products;  // by thread
};
Async& async() {
  static thread_local Async one;
  return one;
}

Phases* phases_at(const uint64_t* barrier) {
  const auto found = async().phases.find(barrier);
  if (found != async().phases.end()) return &found->second;
  note_fault("a barrier is used that is not there yet");
  return nullptr;
}

Products& my_products() {
  std::vector<Products>& all = async().products;
  if (all.empty()) all.resize(lane_now.block_dim.x);
  return all[lane_now.thread.x];
}

// The piece of 16 bytes at an address, where the layout has it; a fault outside of the launch's shared memory.
uint8_t* piece_at(uint32_t address, bool is_swizzled = true) {
  static thread_local uint8_t nothing[kPiece];
  const uint32_t place = is_swizzled ? address ^ ((address >> 7 & 7) << 4) : address;
  const int64_t offset = static_cast<int64_t>(place) - kSharedStart;
  if (offset >= 0 && offset + kPiece <= shared_bytes_of_launch()) return shared_of_launch() + offset;
  note_fault("a tile lies outside of the launch's shared memory");
  return nothing;
}

void copy_now(const TileCopy& copy) {
  for (uint32_t r = 0; r < copy.map.box_rows; r++) {
    const int64_t row = copy.row + static_cast<int64_t>(r);
    for (uint32_t piece = 0; piece < kRowBytes / kPiece; piece++) {
      auto* to = reinterpret_cast<uint16_t*>(piece_at(copy.to + r * kRowBytes + piece * kPiece, copy.map.is_swizzled != 0));
      for (uint32_t i = 0; i < kPiece / sizeof(uint16_t); i++) {
        const int64_t column = copy.column + static_cast<int64_t>(piece * (kPiece / sizeof(uint16_t)) + i);
        const bool is_inside =
            row >= 0 && column >= 0 && row < static_cast<int64_t>(copy.map.rows) && column < static_cast<int64_t>(copy.map.columns);
        to[i] = is_inside ? reinterpret_cast<const uint16_t*>(copy.map.data + row * copy.map.row_bytes)[column] : 0;
      }
    }
  }
}

// Ends the phase where all have arrived and the bytes of the copies are those that are expected. Where others are it never ends.
void end_phase(Phases* p) {
  int64_t bytes = 0;
  for (const TileCopy& copy : p->copies) bytes += copy.bytes();
  if (p->pending > 0 || bytes != p->bytes) return;
  for (const TileCopy& copy : p->copies) copy_now(copy);
  p->copies.clear();
  p->bytes = 0;
  p->pending = p->arrivals;
  p->ended++;
}

// 16 columns of `rows` rows of a matrix from `first` on, as a descriptor says.
void read_matrix(uint64_t matrix, int first, int rows, float (*out)[kProductDepth]) {
  const uint32_t start = static_cast<uint32_t>(matrix & 0x3fff) << 4;
  const uint32_t eight_rows = static_cast<uint32_t>(matrix >> 32 & 0x3fff) << 4;
  const unsigned row_of_atom = matrix >> 49 & 7, layout = matrix >> 62;
  if (layout != 1 || row_of_atom != 0) note_fault("a matrix in another layout than that of 128 bytes");
  if (start / kRowBytes % 8 != 0) note_fault("a matrix begins within an atom of eight rows");
  for (int r = 0; r < rows; r++) {
    const uint32_t row = static_cast<uint32_t>(first + r);
    for (uint32_t piece = 0; piece < 2; piece++) {
      const auto* from = reinterpret_cast<const uint16_t*>(piece_at(start + row / 8 * eight_rows + row % 8 * kRowBytes + piece * kPiece));
      for (int i = 0; i < 8; i++) out[r][piece * 8 + i] = __uint_as_float(static_cast<uint32_t>(from[i]) << 16);
    }
  }
}

// A warp's 16 rows of one product.
void multiply_now(const Product* const* lanes) {
  static thread_local float a[16][kProductDepth], b[kProductColumns][kProductDepth], columns[kProductDepth][kProductColumns];
  static thread_local float d[16][kProductColumns];
  const Product& product = *lanes[0];
  read_matrix(product.a, static_cast<int>(lane_now.thread.x) % kWarpgroup / kWarp * 16, 16, a);
  read_matrix(product.b, 0, kProductColumns, b);
  for (int n = 0; n < kProductColumns; n++) {
    for (int k = 0; k < kProductDepth; k++) columns[k][n] = b[n][k];
  }
  const auto each_value = [&](auto use) {
    for (int lane = 0; lane < kWarp; lane++) {
      for (int i = 0; i < kFragment; i++) use(lanes[lane]->d[i], d[lane / 4 + i % 4 / 2 * 8][i / 4 * 8 + lane % 4 * 2 + i % 2]);
    }
  };
  each_value([&](float& mine, float& value) { value = product.adds ? mine : 0; });
  for (int row = 0; row < 16; row++) {
    for (int k = 0; k < kProductDepth; k++) {
      for (int n = 0; n < kProductColumns; n++) d[row][n] += a[row][k] * columns[k][n];
    }
  }
  each_value([](float& mine, float& value) { mine = value; });
}

// The oldest group of each lane of a warp.
void multiply_group(void* const* lanes) {
  const auto group = [lanes](int lane) -> const std::vector<Product>& { return static_cast<Products*>(lanes[lane])->groups.front(); };
  for (size_t i = 0; i < group(0).size(); i++) {
    const Product* products[kWarp];
    for (int lane = 0; lane < kWarp; lane++) {
      if (group(lane).size() != group(0).size() || !group(lane)[i].reads_like(group(0)[i]))
        return note_fault("lanes of a warp begin other products");
      products[lane] = &group(lane)[i];
    }
    multiply_now(products);
  }
}

}  // namespace

void forget_async() { async() = {}; }

}  // namespace lockstep::test

namespace lockstep::cuda {

using namespace test;

// The conditions of cuda.h.
Error encode_tensor_map(TensorMap* map, const TensorMapShape& shape) {
  constexpr uint64_t kSizeMax = uint64_t{1} << 32, kStrideMax = uint64_t{1} << 40;
  const auto is_size = [](uint64_t size) { return size > 0 && size <= kSizeMax; };
  const auto is_box = [](uint32_t size) { return size > 0 && size <= 256; };
  if (reinterpret_cast<uintptr_t>(shape.data) % 16 != 0 || shape.row_bytes % 16 != 0 || shape.row_bytes >= kStrideMax) return kInvalidValue;
  if (!is_size(shape.size[0]) || !is_size(shape.size[1]) || !is_box(shape.box[0]) || !is_box(shape.box[1])) return kInvalidValue;
  // Others are allowed, and not emulated.
  if (shape.type != kMapBf16 || shape.box[0] * sizeof(uint16_t) != kRowBytes) return kInvalidValue;
  if (shape.swizzle != 0 && shape.swizzle != kMapSwizzle128) return kInvalidValue;
  const Mapped mapped = {
      static_cast<const uint8_t*>(shape.data),  shape.size[0], shape.size[1], shape.row_bytes, shape.box[0], shape.box[1],
      shape.swizzle == kMapSwizzle128 ? 1U : 0U};
  std::memcpy(map, &mapped, sizeof(mapped));
  return kSuccess;
}

uint32_t shared_address(const void* at) {
  return static_cast<uint32_t>(static_cast<const uint8_t*>(at) - shared_of_launch()) + kSharedStart;
}

void init_phases(uint64_t* barrier, uint32_t arrivals) {
  Phases phases{};
  phases.arrivals = phases.pending = arrivals;
  async().phases[barrier] = phases;
}

void show_to_async() {
  for (auto& [barrier, phases] : async().phases) phases.is_shown = true;
}

// Whoever begins copies runs as far ahead as it may, and whoever gives a stage back is overtaken at once.
void arrive(uint64_t* barrier) {
  arrive_expecting(barrier, 0);
  give_turn();
}

void arrive_expecting(uint64_t* barrier, uint32_t bytes) {
  Phases* p = phases_at(barrier);
  if (p == nullptr) return;
  end_phase(p);  // of the one before, which nobody has waited for
  if (p->pending == 0) return note_fault("more threads arrive at a barrier than it counts");
  p->pending--;
  p->bytes += bytes;
  note_move();
}

void wait_for_phase(uint64_t* barrier, uint32_t parity) {
  Phases* p = phases_at(barrier);
  for (; p != nullptr; give_turn()) {
    end_phase(p);
    if ((p->ended & 1U) != parity) return;
  }
}

void begin_tile(void* to, const TensorMap* map, uint64_t* barrier, int column, int row) {
  constexpr uint8_t kNoNumbers = 0xff;
  Phases* p = phases_at(barrier);
  if (p == nullptr) return;
  if (!p->is_shown) note_fault("a copy counts at a barrier that was not shown to it");
  TileCopy copy{{}, shared_address(to), column, row};
  std::memcpy(&copy.map, map, sizeof(copy.map));
  if (copy.to % kRowBytes != 0) return note_fault("a tile is copied to an address that is no multiple of 128");
  for (uint32_t at = 0; at < copy.bytes(); at += kPiece) std::memset(piece_at(copy.to + at), kNoNumbers, kPiece);
  p->copies.push_back(copy);
  note_move();
}

void begin_products(float*) { my_products().may_begin = true; }
void end_products() { my_products().groups.emplace_back(); }

void finish_products(int pending) {
  Products& mine = my_products();
  mine.may_begin = false;
  while (static_cast<int>(mine.groups.size()) > pending + 1) {
    do_in_warp(&mine, multiply_group);
    mine.groups.pop_front();
  }
}

void multiply_async(float* d, uint64_t a, uint64_t b, bool adds) {
  if (!my_products().may_begin) note_fault("a product begins without a fence");
  my_products().groups.back().push_back({d, a, b, adds});
}

}  // namespace lockstep::cuda
