#include "addon/convert.h"

#include <climits>
#include <cmath>

#include "common/tensor_type.h"

namespace lockstep::addon {

namespace {

// Bounds that keep every product of two sizes inside 64 bits and every buffer's index inside an int.
constexpr int64_t kMaxWidth = 1 << 20;
constexpr int64_t kMaxVocab = 1 << 20;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxExperts = 1024;
constexpr int64_t kMaxPositions = 1 << 24;
constexpr int64_t kMaxRows = 1 << 16;
constexpr int64_t kMaxBytes = int64_t{1} << 52;

}  // namespace

void Reader::fail(const std::string& path, const char* expected) {
  if (error_.empty()) error_ = path + " must be " + expected;
}

Napi::Value Reader::get(const Napi::Object& object, const char* name, const std::string& path) {
  if (!ok()) return object.Env().Undefined();
  const Napi::Value value = object.Get(name);
  if (value.IsEmpty()) {
    object.Env().GetAndClearPendingException();
    fail(path + "." + name, "readable");
    return object.Env().Undefined();
  }
  return value;
}

Napi::Object Reader::object(const Napi::Value& value, const std::string& path) {
  if (value.IsObject()) return value.As<Napi::Object>();
  fail(path, "an object");
  return Napi::Object::New(value.Env());
}

Napi::Array Reader::array(const Napi::Value& value, const std::string& path) {
  if (value.IsArray()) return value.As<Napi::Array>();
  fail(path, "an array");
  return Napi::Array::New(value.Env());
}

double Reader::number(const Napi::Object& object, const char* name, const std::string& path) {
  const Napi::Value value = get(object, name, path);
  if (value.IsNumber() && std::isfinite(value.As<Napi::Number>().DoubleValue())) return value.As<Napi::Number>().DoubleValue();
  fail(path + "." + name, "a number");
  return 0;
}

int64_t Reader::integer(const Napi::Object& object, const char* name, const std::string& path, int64_t low, int64_t high) {
  const double value = number(object, name, path);
  if (value == std::floor(value) && value >= static_cast<double>(low) && value <= static_cast<double>(high))
    return static_cast<int64_t>(value);
  const std::string expected = "an integer from " + std::to_string(low) + " to " + std::to_string(high);
  fail(path + "." + name, expected.c_str());
  return low;
}

float Reader::optional_number(const Napi::Object& object, const char* name, const std::string& path) {
  return get(object, name, path).IsNumber() ? static_cast<float>(number(object, name, path)) : 0;
}

bool Reader::boolean(const Napi::Object& object, const char* name, const std::string& path) {
  const Napi::Value value = get(object, name, path);
  if (value.IsBoolean()) return value.As<Napi::Boolean>().Value();
  fail(path + "." + name, "true or false");
  return false;
}

std::string Reader::text(const Napi::Object& object, const char* name, const std::string& path) {
  const Napi::Value value = get(object, name, path);
  if (value.IsString()) return value.As<Napi::String>().Utf8Value();
  fail(path + "." + name, "a string");
  return "";
}

int Reader::choice(const Napi::Object& object, const char* name, const std::string& path, const char* const* names, int count) {
  const std::string value = text(object, name, path);
  std::string expected = "one of";
  for (int i = 0; i < count; i++) {
    if (value == names[i]) return i;
    expected += std::string(" ") + names[i];
  }
  fail(path + "." + name, expected.c_str());
  return 0;
}

namespace {

NormSpec read_norm(const Napi::Value& value, const std::string& path, Reader* r) {
  NormSpec norm;
  if (value.IsNull()) return norm;
  const Napi::Object object = r->object(value, path);
  const char* const kinds[] = {"rms", "layer"};
  norm.present = true;
  norm.layer_norm = r->choice(object, "kind", path, kinds, 2) == 1;
  norm.eps = static_cast<float>(r->number(object, "eps", path));
  norm.weight_offset = static_cast<float>(r->number(object, "weightOffset", path));
  norm.bias = r->boolean(object, "bias", path);
  return norm;
}

RopeSpec read_rope(const Napi::Value& value, const std::string& path, int head_dim, Reader* r) {
  RopeSpec rope;
  const Napi::Object object = r->object(value, path);
  rope.rotary_dim = static_cast<int>(r->integer(object, "rotaryDim", path, 2, head_dim));
  rope.attention_factor = static_cast<float>(r->number(object, "attentionFactor", path));
  const Napi::Array frequencies = r->array(r->get(object, "inverseFrequencies", path), path + ".inverseFrequencies");
  if (rope.rotary_dim % 2 != 0 || frequencies.Length() != static_cast<uint32_t>(rope.rotary_dim / 2)) {
    r->fail(path + ".inverseFrequencies", "of rotaryDim / 2 numbers, rotaryDim even");
    return rope;
  }
  for (uint32_t i = 0; i < frequencies.Length(); i++) {
    const Napi::Value frequency = frequencies.Get(i);
    if (!frequency.IsNumber()) r->fail(path + ".inverseFrequencies", "numbers");
    rope.inverse_frequencies.push_back(frequency.IsNumber() ? frequency.As<Napi::Number>().FloatValue() : 0);
  }
  return rope;
}

void read_mlp(const Napi::Object& mlp, const std::string& path, LayerSpec* layer, Reader* r) {
  const char* const activations[] = {"silu", "gelu-tanh", "gelu", "relu"};
  layer->gated = r->boolean(mlp, "gated", path);
  layer->activation = static_cast<Activation>(r->choice(mlp, "activation", path, activations, 4));
  layer->mlp_bias = r->boolean(mlp, "bias", path);
  const Napi::Value experts = r->get(mlp, "experts", path);
  if (experts.IsNull()) {
    layer->intermediate = static_cast<int>(r->integer(mlp, "intermediate", path, 1, kMaxWidth));
    return;
  }
  const Napi::Object object = r->object(experts, path + ".experts");
  layer->experts = static_cast<int>(r->integer(object, "count", path + ".experts", 1, kMaxExperts));
  layer->experts_top_k = static_cast<int>(r->integer(object, "topK", path + ".experts", 1, layer->experts));
  layer->intermediate = static_cast<int>(r->integer(object, "intermediate", path + ".experts", 1, kMaxWidth));
  layer->normalize_top_k = r->boolean(object, "normalizeTopK", path + ".experts");
}

LayerSpec read_layer(const Napi::Value& value, const std::string& path, int num_ropes, Reader* r) {
  LayerSpec layer;
  const Napi::Object object = r->object(value, path);
  const Napi::Object attention = r->object(r->get(object, "attention", path), path + ".attention");
  layer.qkv_bias = r->boolean(attention, "qkvBias", path);
  layer.out_bias = r->boolean(attention, "outBias", path);
  layer.qk_norm = read_norm(r->get(attention, "qkNorm", path), path + ".attention.qkNorm", r);
  if (!r->get(attention, "window", path).IsNull()) layer.window = static_cast<int>(r->integer(attention, "window", path, 1, INT_MAX));
  layer.softcap = r->optional_number(attention, "softcap", path);
  layer.scale = static_cast<float>(r->number(attention, "scale", path));
  if (!r->get(object, "rope", path).IsNull()) layer.rope = static_cast<int>(r->integer(object, "rope", path, 0, num_ropes - 1));
  read_mlp(r->object(r->get(object, "mlp", path), path + ".mlp"), path + ".mlp", &layer, r);
  const Napi::Object norms = r->object(r->get(object, "norms", path), path + ".norms");
  layer.before_attention = read_norm(r->get(norms, "beforeAttention", path), path + ".norms.beforeAttention", r);
  layer.after_attention = read_norm(r->get(norms, "afterAttention", path), path + ".norms.afterAttention", r);
  layer.before_mlp = read_norm(r->get(norms, "beforeMlp", path), path + ".norms.beforeMlp", r);
  layer.after_mlp = read_norm(r->get(norms, "afterMlp", path), path + ".norms.afterMlp", r);
  if (!layer.before_attention.present || !layer.before_mlp.present) r->fail(path + ".norms", "with a norm before attention and MLP");
  return layer;
}

ModelSpec read_spec(const Napi::Value& value, Reader* r) {
  ModelSpec spec;
  const Napi::Object object = r->object(value, "spec");
  const Napi::Object dims = r->object(r->get(object, "dims", "spec"), "spec.dims");
  spec.hidden = static_cast<int>(r->integer(dims, "hidden", "spec.dims", 1, kMaxWidth));
  spec.vocab = static_cast<int>(r->integer(dims, "vocab", "spec.dims", 1, kMaxVocab));
  spec.heads = static_cast<int>(r->integer(dims, "heads", "spec.dims", 1, 1024));
  spec.kv_heads = static_cast<int>(r->integer(dims, "kvHeads", "spec.dims", 1, spec.heads));
  spec.head_dim = static_cast<int>(r->integer(dims, "headDim", "spec.dims", 2, cpu::kMaxHeadDim));
  if (spec.heads % spec.kv_heads != 0) r->fail("spec.dims.kvHeads", "a divisor of heads");
  if (spec.head_dim % 2 != 0) r->fail("spec.dims.headDim", "even");
  const Napi::Object embedding = r->object(r->get(object, "embedding", "spec"), "spec.embedding");
  spec.embedding_scale = static_cast<float>(r->number(embedding, "scale", "spec.embedding"));
  spec.tied = r->boolean(embedding, "tied", "spec.embedding");
  const Napi::Value learned = r->get(embedding, "learnedPositions", "spec.embedding");
  if (!learned.IsNull()) {
    const Napi::Object positions = r->object(learned, "spec.embedding.learnedPositions");
    spec.learned_positions = true;
    spec.learned_count = static_cast<int>(r->integer(positions, "count", "spec.embedding.learnedPositions", 1, kMaxPositions));
    spec.learned_offset = static_cast<int>(r->integer(positions, "offset", "spec.embedding.learnedPositions", 0, spec.learned_count - 1));
  }
  if (!r->get(embedding, "tokenTypes", "spec.embedding").IsNull())
    spec.token_types = static_cast<int>(r->integer(embedding, "tokenTypes", "spec.embedding", 1, kMaxWidth));
  const Napi::Array ropes = r->array(r->get(object, "ropes", "spec"), "spec.ropes");
  for (uint32_t i = 0; i < ropes.Length(); i++)
    spec.ropes.push_back(read_rope(ropes.Get(i), "spec.ropes[" + std::to_string(i) + "]", spec.head_dim, r));
  const Napi::Array layers = r->array(r->get(object, "layers", "spec"), "spec.layers");
  if (layers.Length() < 1 || layers.Length() > kMaxLayers) r->fail("spec.layers", "1 to 1024 layers");
  for (uint32_t i = 0; i < layers.Length() && r->ok(); i++) {
    spec.layers.push_back(read_layer(layers.Get(i), "spec.layers[" + std::to_string(i) + "]", static_cast<int>(spec.ropes.size()), r));
  }
  spec.final_norm = read_norm(r->get(object, "finalNorm", "spec"), "spec.finalNorm", r);
  if (!spec.final_norm.present) r->fail("spec.finalNorm", "a norm");
  spec.post_norm = r->boolean(object, "postNorm", "spec");
  spec.causal = r->boolean(object, "causal", "spec");
  const Napi::Object logits = r->object(r->get(object, "logits", "spec"), "spec.logits");
  spec.logit_softcap = r->optional_number(logits, "softcap", "spec.logits");
  spec.logit_scale = static_cast<float>(r->number(logits, "scale", "spec.logits"));
  return spec;
}

StepDims read_dims(const Napi::Object& dims, Reader* r) {
  StepDims out;
  out.max_rows = static_cast<int>(r->integer(dims, "maxRows", "dims", 1, kMaxRows));
  out.max_tokens = static_cast<int>(r->integer(dims, "maxTokens", "dims", 1, 1 << 20));
  out.max_seq_len = static_cast<int>(r->integer(dims, "maxSeqLen", "dims", 1, kMaxPositions));
  out.block_size = static_cast<int>(r->integer(dims, "blockSize", "dims", cpu::kKeyTile, 1 << 16));
  out.num_blocks = static_cast<int>(r->integer(dims, "numBlocks", "dims", 1, INT_MAX));
  out.max_drafts = static_cast<int>(r->integer(dims, "maxDrafts", "dims", 0, 64));
  out.max_logprobs = static_cast<int>(r->integer(dims, "maxLogprobs", "dims", 0, kMaxVocab));
  out.world_size = static_cast<int>(r->integer(dims, "worldSize", "dims", 1, 64));
  out.pooled_len = static_cast<int>(r->integer(dims, "pooledLen", "dims", 0, kMaxWidth));
  out.max_blocks_per_row = (out.max_seq_len + out.block_size - 1) / out.block_size;
  if (out.block_size % cpu::kKeyTile != 0) r->fail("dims.blockSize", "a multiple of 16");
  return out;
}

Range read_range(const Napi::Value& value, const std::string& path, int total, Reader* r) {
  const Napi::Array pair = r->array(value, path);
  if (pair.Length() == 2 && pair.Get(0U).IsNumber() && pair.Get(1U).IsNumber()) {
    const int64_t first = pair.Get(0U).As<Napi::Number>().Int64Value();
    const int64_t count = pair.Get(1U).As<Napi::Number>().Int64Value();
    if (first >= 0 && count >= 0 && first + count <= total) return {static_cast<int>(first), static_cast<int>(count)};
  }
  r->fail(path, ("[first, count] within " + std::to_string(total)).c_str());
  return {0, 0};
}

TensorSource read_source(const Napi::Value& value, const std::string& path, int num_files, Reader* r) {
  TensorSource source;
  const Napi::Object object = r->object(value, path);
  source.file = static_cast<int>(r->integer(object, "file", path, 0, num_files - 1));
  source.byte_offset = r->integer(object, "byteOffset", path, 0, kMaxBytes);
  source.type = static_cast<ElementType>(r->choice(object, "type", path, kElementTypeNames, kNumElementTypes));
  source.rows = r->integer(object, "rows", path, 1, INT_MAX);
  source.cols = r->integer(object, "cols", path, 1, INT_MAX);
  source.transposed = r->boolean(object, "transposed", path);
  source.first_row = r->integer(object, "firstRow", path, 0, INT_MAX);
  source.interleaved_head_dim = static_cast<int>(r->integer(object, "interleavedHeadDim", path, 0, kMaxWidth));
  return source;
}

Place read_place(const Napi::Value& value, const std::string& path, int num_files, Reader* r) {
  Place place;
  if (value.IsNull()) return place;
  const char* const types[] = {"f32", "f16", "bf16", "i32", "i64"};
  const Napi::Object object = r->object(value, path);
  place.present = true;
  place.file = static_cast<int>(r->integer(object, "file", path, 0, num_files - 1));
  place.byte_offset = r->integer(object, "byteOffset", path, 0, kMaxBytes);
  place.type = static_cast<PlaceType>(r->choice(object, "type", path, types, 5));
  return place;
}

Scaling read_scaling(const Napi::Value& value, const std::string& path, int num_files, Reader* r) {
  Scaling scaling;
  if (value.IsNull()) return scaling;
  const char* const layouts[] = {"rows", "gptq", "awq"};
  const Napi::Object object = r->object(value, path);
  scaling.present = true;
  scaling.layout = static_cast<CodeLayout>(r->choice(object, "layout", path, layouts, 3));
  scaling.group_rows = r->integer(object, "groupRows", path, 1, INT_MAX);
  scaling.group_cols = r->integer(object, "groupCols", path, 1, INT_MAX);
  scaling.scales = read_place(r->get(object, "scales", path), path + ".scales", num_files, r);
  scaling.zeros = read_place(r->get(object, "zeros", path), path + ".zeros", num_files, r);
  scaling.group_of_column = read_place(r->get(object, "groupOfColumn", path), path + ".groupOfColumn", num_files, r);
  scaling.zero_point = static_cast<int>(r->integer(object, "zeroPoint", path, 0, 255));
  return scaling;
}

}  // namespace

cpu::GroupConfig read_group_config(const Napi::Value& value, Reader* r) {
  cpu::GroupConfig config;
  const Napi::Object object = r->object(value, "options");
  const char* const modes[] = {"gather", "reduce"};
  const char* const types[] = {"float32", "bfloat16", "int8"};  // KvType
  config.dims = read_dims(r->object(r->get(object, "dims", "options"), "options.dims"), r);
  config.mode = static_cast<ParallelMode>(r->choice(object, "mode", "options", modes, 2));
  config.spec = read_spec(r->get(object, "spec", "options"), r);
  if (config.dims.pooled_len != 0 && config.dims.pooled_len != config.spec.hidden)
    r->fail("options.dims.pooledLen", "0 or the model's width");
  config.kv_type = static_cast<cpu::KvType>(r->choice(object, "kvCacheType", "options", types, 3));
  config.threads_per_rank = static_cast<int>(r->integer(object, "threadsPerRank", "options", 1, 1024));
  config.step_timeout_ms = static_cast<int>(r->integer(object, "stepTimeoutMs", "options", 1, INT_MAX));
  return config;
}

GpuOptions read_gpu_options(const Napi::Value& value, Reader* r) {
  GpuOptions options;
  const Napi::Value gpu = r->get(r->object(value, "options"), "gpu", "options");
  if (gpu.IsUndefined()) return options;
  const Napi::Object object = r->object(gpu, "options.gpu");
  options.present = true;
  options.nccl = r->text(object, "nccl", "options.gpu");
  options.cublaslt = r->text(object, "cublasLt", "options.gpu");
  options.roots = read_texts(r->get(object, "roots", "options.gpu"), "options.gpu.roots", r);
  const char* const choices[] = {"quickest", "peers", "library"};  // SumChoice
  options.sums = static_cast<nccl::SumChoice>(r->choice(object, "sums", "options.gpu", choices, 3));
  options.records = r->boolean(object, "records", "options.gpu");
  options.one_device = r->boolean(object, "oneDevice", "options.gpu");
  return options;
}

std::vector<std::string> read_texts(const Napi::Value& value, const std::string& path, Reader* r) {
  std::vector<std::string> texts;
  const Napi::Array array = r->array(value, path);
  for (uint32_t i = 0; i < array.Length(); i++) {
    const Napi::Value text = array.Get(i);
    if (!text.IsString()) r->fail(path, "strings");
    texts.push_back(text.IsString() ? text.As<Napi::String>().Utf8Value() : "");
  }
  return texts;
}

RankShard read_shard(const Napi::Value& value, const cpu::GroupConfig& config, Reader* r) {
  RankShard shard;
  const Napi::Object object = r->object(value, "shard");
  const char* const modes[] = {"gather", "reduce"};
  const ModelSpec& spec = config.spec;
  shard.mode = static_cast<ParallelMode>(r->choice(object, "mode", "shard", modes, 2));
  if (shard.mode != config.mode) r->fail("shard.mode", "that of the group");
  shard.world_size = static_cast<int>(r->integer(object, "worldSize", "shard", config.dims.world_size, config.dims.world_size));
  shard.rank = static_cast<int>(r->integer(object, "rank", "shard", 0, shard.world_size - 1));
  shard.heads = read_range(r->get(object, "heads", "shard"), "shard.heads", spec.heads, r);
  shard.kv_heads = read_range(r->get(object, "kvHeads", "shard"), "shard.kvHeads", spec.kv_heads, r);
  shard.vocab = read_range(r->get(object, "vocab", "shard"), "shard.vocab", spec.vocab, r);
  const Napi::Array intermediate = r->array(r->get(object, "intermediate", "shard"), "shard.intermediate");
  if (intermediate.Length() != spec.layers.size()) r->fail("shard.intermediate", "one range a layer");
  for (uint32_t i = 0; i < intermediate.Length() && r->ok(); i++) {
    shard.intermediate.push_back(
        read_range(intermediate.Get(i), "shard.intermediate[" + std::to_string(i) + "]", spec.layers[i].intermediate, r));
  }
  return shard;
}

WeightMap read_weights(const Napi::Value& value, Reader* r) {
  WeightMap map;
  const Napi::Object object = r->object(value, "weights");
  map.files = read_texts(r->get(object, "files", "weights"), "weights.files", r);
  map.generated = r->get(object, "generated", "weights").ToBoolean();
  const Napi::Array tensors = r->array(r->get(object, "tensors", "weights"), "weights.tensors");
  map.tensors.reserve(tensors.Length());
  for (uint32_t i = 0; i < tensors.Length() && r->ok(); i++) {
    const Napi::HandleScope scope(value.Env());
    const std::string path = "weights.tensors[" + std::to_string(i) + "]";
    const Napi::Object from = r->object(tensors.Get(i), path);
    WeightTensor tensor;
    tensor.name = r->text(from, "name", path);
    tensor.rows = static_cast<int>(r->integer(from, "rows", path, 1, INT_MAX));
    tensor.cols = static_cast<int>(r->integer(from, "cols", path, 1, kMaxWidth));
    tensor.format = static_cast<WeightFormat>(r->choice(from, "format", path, kWeightFormatNames, kNumWeightFormats));
    tensor.source = read_source(r->get(from, "source", path), path + ".source", static_cast<int>(map.files.size()), r);
    tensor.scaling = read_scaling(r->get(from, "scaling", path), path + ".scaling", static_cast<int>(map.files.size()), r);
    tensor.bias = static_cast<float>(r->number(from, "bias", path));
    map.tensors.push_back(std::move(tensor));
  }
  return map;
}

}  // namespace lockstep::addon
