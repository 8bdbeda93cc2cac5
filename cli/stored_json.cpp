#include "cli/stored_json.h"

#include "model/error.h"
#include "model/json.h"

namespace mnm {

nlohmann::json stored_json(std::string_view text) {
  try {
    return parse_json(text, "");
  } catch (const Error&) {
    return nullptr;
  }
}

}  // namespace mnm
