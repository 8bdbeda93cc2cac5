#include "cli/stored_json.h"

#include "base/error.h"
#include "base/json.h"

namespace mnm {

nlohmann::json stored_json(std::string_view text) {
  try {
    return parse_json(text, "");
  } catch (const Error&) {
    return nullptr;
  }
}

}  // namespace mnm
