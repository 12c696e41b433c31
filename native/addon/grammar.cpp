#include "addon/grammar.h"

#include "addon/addon.h"
#include "addon/group.h"

namespace lockstep::addon {
namespace {

Napi::Value fail(const Napi::CallbackInfo& info, const std::string& text) {
  Napi::TypeError::New(info.Env(), text).ThrowAsJavaScriptException();
  return info.Env().Undefined();
}

bool is_array(const Napi::Value& value, napi_typedarray_type type) {
  return value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == type;
}

// Bytes of all tokens and the end of each; null and a reason where they do not fit together.
std::shared_ptr<const VocabularyTrie> read_vocabulary(const Napi::Value& bytes, const Napi::Value& ends, std::string* error) {
  *error = "a vocabulary is a Uint8Array of bytes and an Int32Array of where each token ends";
  if (!is_array(bytes, napi_uint8_array) || !is_array(ends, napi_int32_array)) return nullptr;
  const auto text = bytes.As<Napi::Uint8Array>();
  const auto places = ends.As<Napi::Int32Array>();
  int32_t last = 0;
  for (size_t i = 0; i < places.ElementLength(); i++) {
    if (places.Data()[i] < last || static_cast<size_t>(places.Data()[i]) > text.ElementLength()) return nullptr;
    last = places.Data()[i];
  }
  return std::make_shared<VocabularyTrie>(text.Data(), places.Data(), static_cast<int>(places.ElementLength()));
}

std::vector<int32_t> words_of(const Napi::Value& value) {
  const auto words = value.As<Napi::Int32Array>();
  return {words.Data(), words.Data() + words.ElementLength()};
}

std::shared_ptr<cpu::Group> group_of(const Napi::CallbackInfo& info) {
  return find_group(info[0].IsNumber() ? info[0].As<Napi::Number>().Int32Value() : 0);
}

}  // namespace

Napi::Value set_vocabulary(const Napi::CallbackInfo& info) {
  const std::shared_ptr<cpu::Group> group = group_of(info);
  if (!group) return fail(info, "setVocabulary: there is no such group");
  std::string error;
  std::shared_ptr<const VocabularyTrie> trie = read_vocabulary(info[1], info[2], &error);
  if (!trie) return fail(info, "setVocabulary: " + error);
  group->grammars()->set_vocabulary(std::move(trie));
  return info.Env().Undefined();
}

Napi::Value add_grammar(const Napi::CallbackInfo& info) {
  const std::shared_ptr<cpu::Group> group = group_of(info);
  if (!group || !info[1].IsNumber() || !is_array(info[2], napi_int32_array))
    return fail(info, "addGrammar takes a group, a number and a compiled grammar");
  const int id = info[1].As<Napi::Number>().Int32Value();
  const std::string error = id < 1 ? "numbers begin with 1" : group->grammars()->add(id, words_of(info[2]));
  return error.empty() ? info.Env().Undefined() : fail(info, "addGrammar: " + error);
}

Napi::Value remove_grammar(const Napi::CallbackInfo& info) {
  const std::shared_ptr<cpu::Group> group = group_of(info);
  if (group && info[1].IsNumber()) group->grammars()->remove(info[1].As<Napi::Number>().Int32Value());
  return info.Env().Undefined();
}

Napi::Function GrammarRunObject::define(Napi::Env env) {
  return DefineClass(
      env, "GrammarRun",
      {InstanceMethod<&GrammarRunObject::mask>("mask"), InstanceMethod<&GrammarRunObject::push>("push"),
       InstanceMethod<&GrammarRunObject::is_complete>("isComplete"), InstanceMethod<&GrammarRunObject::is_exhausted>("isExhausted"),
       InstanceMethod<&GrammarRunObject::forced>("forced"), InstanceMethod<&GrammarRunObject::reset>("reset")});
}

GrammarRunObject::GrammarRunObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<GrammarRunObject>(info) {
  std::string error;
  std::shared_ptr<const VocabularyTrie> trie = read_vocabulary(info[0], info[1], &error);
  auto tables = std::make_shared<GrammarTables>();
  const char* problem = nullptr;
  if (trie) problem = is_array(info[2], napi_int32_array) ? tables->bind(words_of(info[2]), *trie) : "no compiled grammar";
  if (!trie || problem != nullptr) {
    fail(info, "createGrammarRun: " + (trie ? std::string(problem) : error));
    return;
  }
  run_ = std::make_unique<GrammarRun>(std::move(tables), std::move(trie));
  at_ = run_->start();
}

Napi::Value GrammarRunObject::mask(const Napi::CallbackInfo& info) {
  const std::shared_ptr<const TokenMask> mask = run_->mask(at_);
  if (!mask) return info.Env().Null();
  Napi::Uint32Array out = Napi::Uint32Array::New(info.Env(), mask->words.size());
  std::copy(mask->words.begin(), mask->words.end(), out.Data());
  return out;
}

Napi::Value GrammarRunObject::push(const Napi::CallbackInfo& info) {
  const int32_t id = info[0].IsNumber() ? info[0].As<Napi::Number>().Int32Value() : -1;
  at_ = run_->advance(at_, id);
  return Napi::Boolean::New(info.Env(), at_ >= 0);
}

Napi::Value GrammarRunObject::is_complete(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), run_->is_complete(at_)); }

Napi::Value GrammarRunObject::is_exhausted(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), run_->is_exhausted(at_));
}

Napi::Value GrammarRunObject::forced(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), run_->forced(at_)); }

Napi::Value GrammarRunObject::reset(const Napi::CallbackInfo& info) {
  at_ = run_->start();
  return info.Env().Undefined();
}

Napi::Value create_grammar_run(const Napi::CallbackInfo& info) {
  return info.Env().GetInstanceData<AddonData>()->grammar_run_class.New({info[0], info[1], info[2]});
}

}  // namespace lockstep::addon
