#include "text/json_members.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace mnm {
namespace {

using Json = nlohmann::json;

constexpr int kDeepest = 8;

void add_steps(const Json& node, const char* key, int depth, std::vector<const Json*>& out) {
  if (depth > kDeepest) fail("its sequences of {} are nested deeper than {}", key, kDeepest);
  if (node.is_null()) return;
  if (text_of(node, "type") != "Sequence") {
    out.push_back(&node);
    return;
  }
  const Json& list = member(node, key);
  if (!list.is_array()) fail("its sequence of {} is no list", key);
  for (const Json& step : list) add_steps(step, key, depth + 1, out);
}

}  // namespace

const Json& member(const Json& object, const char* key) {
  static const Json null;
  if (!object.is_object()) return null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

std::string text_of(const Json& object, const char* key) {
  const Json& value = member(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}

bool is_set(const Json& object, const char* key) {
  const Json& value = member(object, key);
  return !value.is_null() && value != Json(false) && value != Json("") && value != Json(0);
}

std::vector<const Json*> steps_of(const Json& node, const char* key) {
  std::vector<const Json*> out;
  add_steps(node, key, 0, out);
  constexpr std::size_t kMost = 64;  // each goes through the whole text
  if (out.size() > kMost) {
    fail("its sequence of {} has {} steps, and at most {} are read", key, out.size(), kMost);
  }
  return out;
}

}  // namespace mnm
