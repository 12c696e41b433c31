#include "cuda/cublaslt.h"

#include "common/shared_library.h"

namespace lockstep::cuda {
namespace {

constexpr size_t kWorkspaceBytes = size_t{32} << 20;  // what NVIDIA recommends for Hopper
constexpr size_t kPlansMax = 4096;                    // shapes that are kept: every length of a step is one for each kind of matrix

// The name of a symbol that the library has not, or null.
const char* missing_symbol(void* handle, LtFunctions* out) {
#define LOCKSTEP_FIND(member, name) \
  if (!find_symbol(handle, name, &out->member)) return name;
  LOCKSTEP_FIND(create, "cublasLtCreate")
  LOCKSTEP_FIND(destroy, "cublasLtDestroy")
  LOCKSTEP_FIND(matmul, "cublasLtMatmul")
  LOCKSTEP_FIND(desc_create, "cublasLtMatmulDescCreate")
  LOCKSTEP_FIND(desc_destroy, "cublasLtMatmulDescDestroy")
  LOCKSTEP_FIND(desc_set, "cublasLtMatmulDescSetAttribute")
  LOCKSTEP_FIND(layout_create, "cublasLtMatrixLayoutCreate")
  LOCKSTEP_FIND(layout_destroy, "cublasLtMatrixLayoutDestroy")
  LOCKSTEP_FIND(preference_create, "cublasLtMatmulPreferenceCreate")
  LOCKSTEP_FIND(preference_destroy, "cublasLtMatmulPreferenceDestroy")
  LOCKSTEP_FIND(preference_set, "cublasLtMatmulPreferenceSetAttribute")
  LOCKSTEP_FIND(heuristic, "cublasLtMatmulAlgoGetHeuristic")
  LOCKSTEP_FIND(get_version, "cublasLtGetVersion")
#undef LOCKSTEP_FIND
  return nullptr;
}

}  // namespace

int cublaslt_major(const Runtime* runtime) {
  constexpr int kUsual = 13;
  int version = 0;
  return runtime == nullptr || runtime->runtime_version(&version) != kSuccess ? kUsual : version / 1000;
}

CublasLt open_cublaslt(const std::string& path, const std::vector<std::string>& roots, int major) {
  CublasLt library;
  const std::string suffix = std::to_string(major);
  const auto check = [&](void* handle) -> std::string {
    if (const char* name = missing_symbol(handle, &library.functions)) return std::string("it has no ") + name;
    const int version = static_cast<int>(library.functions.get_version());
    if (version / 10000 != major) return "it is of CUDA " + std::to_string(version / 10000) + ", and this build of CUDA " + suffix;
    library.version = version;
    return "";
  };
  OpenLibrary opened = open_library({{"libcublasLt.so." + suffix}, "cu" + suffix, path, roots}, check);
  library.path = std::move(opened.path);
  library.refused = std::move(opened.refused);
  return library;
}

// cuBLASLt's matrices are column-major. Ours in its words: out, n x rows, is the transpose of w, k x n, times x, k x rows.
struct LtProducts::Plan {
  const LtFunctions* functions;
  LtDesc desc = nullptr;
  LtLayout w = nullptr, x = nullptr, out = nullptr;
  LtAlgorithm algorithm{};
  bool is_found = false;

  explicit Plan(const LtFunctions* of) : functions(of) {}
  ~Plan() {
    for (LtLayout layout : {w, x, out}) {
      if (layout != nullptr) (void)functions->layout_destroy(layout);
    }
    if (desc != nullptr) (void)functions->desc_destroy(desc);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  bool describe(const GemmArgs& args) {
    const int type = args.type == Type::kF32 ? kLtFloat32 : kLtBfloat16;
    const auto layout = [&](LtLayout* to, int of, int rows, int cols, int ld) {
      return functions->layout_create(to, of, static_cast<uint64_t>(rows), static_cast<uint64_t>(cols), ld) == kLtSuccess;
    };
    const auto set = [&](int attribute, int32_t value) {
      return functions->desc_set(desc, attribute, &value, sizeof(value)) == kLtSuccess;
    };
    return functions->desc_create(&desc, kLtComputeFloat32, kLtFloat32) == kLtSuccess && set(kLtTransposeA, kLtTransposed) &&
           (args.bias == nullptr || set(kLtEpilogue, kLtEpilogueBias)) && layout(&w, type, args.k, args.n, args.ld_w) &&
           layout(&x, type, args.k, args.rows, args.ld_x) && layout(&out, kLtFloat32, args.n, args.rows, args.ld_out) && put_bias(args);
  }
  bool put_bias(const GemmArgs& args) const {
    return args.bias == nullptr || functions->desc_set(desc, kLtBiasPointer, &args.bias, sizeof(args.bias)) == kLtSuccess;
  }
  void find(LtHandle handle) {
    LtPreference preference = nullptr;
    if (functions->preference_create(&preference) != kLtSuccess) return;
    LtHeuristic best{};
    int num_found = 0;
    is_found = functions->preference_set(preference, kLtMaxWorkspace, &kWorkspaceBytes, sizeof(kWorkspaceBytes)) == kLtSuccess &&
               functions->heuristic(handle, desc, w, x, out, out, preference, 1, &best, &num_found) == kLtSuccess && num_found == 1 &&
               best.status == kLtSuccess;
    algorithm = best.algorithm;
    (void)functions->preference_destroy(preference);
  }
};

LtProducts::LtProducts(const LtFunctions* functions, const Device* device, const OwnStream* stream)
    : functions_(functions), device_(device), stream_(stream) {}

LtProducts::~LtProducts() {
  plans_.clear();
  if (handle_ != nullptr && workspace_.data() != nullptr) (void)functions_->destroy(handle_);
}

Status LtProducts::failed(LtStatus status, const char* what) const {
  return Status(Fault::kDevice, std::string("cuBLASLt: ") + what + ": status " + std::to_string(status));
}

Status LtProducts::init() {
  if (functions_ == nullptr) return Status();
  LOCKSTEP_RETURN_IF_ERROR(workspace_.reserve_device(*device_, kWorkspaceBytes, "cuBLASLt's workspace"));
  const LtStatus status = functions_->create(&handle_);
  return status == kLtSuccess ? Status() : failed(status, "cublasLtCreate");
}

LtProducts::Shape LtProducts::shape_of(const GemmArgs& args) {
  return {args.type, args.bias != nullptr, args.rows, args.n, args.k, args.ld_x, args.ld_w, args.ld_out};
}

LtProducts::Plan* LtProducts::plan_for(const GemmArgs& args) {
  const Shape shape = shape_of(args);
  const auto found = plans_.find(shape);
  if (found != plans_.end()) return found->second.get();
  if (plans_.size() >= kPlansMax) plans_.clear();
  auto plan = std::make_unique<Plan>(functions_);
  if (plan->describe(args)) plan->find(handle_);
  return plans_.emplace(shape, std::move(plan)).first->second.get();
}

bool LtProducts::can(const GemmArgs& args) {
  const bool is_plain = args.expert_of == nullptr && args.rows_per_input == 1 && !args.adds && !args.gates;
  return functions_ != nullptr && args.k > 0 && is_plain && plan_for(args)->is_found;
}

Status LtProducts::multiply(const GemmArgs& args) {
  const Plan& plan = *plan_for(args);
  // Layers share a plan, and have biases of their own.
  if (!plan.put_bias(args)) return failed(kLtNotSupported, "a bias");
  const float one = 1;
  const float zero = 0;
  const LtStatus status = functions_->matmul(handle_, plan.desc, &one, args.w, plan.w, args.x, plan.x, &zero, args.out, plan.out, args.out,
                                             plan.out, &plan.algorithm, workspace_.data(), kWorkspaceBytes, stream_->get());
  return status == kLtSuccess ? Status() : failed(status, "cublasLtMatmul");
}

}  // namespace lockstep::cuda
