#include "serve/api_error.h"

#include <nlohmann/json.hpp>

namespace mnm {

using Json = nlohmann::ordered_json;

std::string ApiError::json() const {
  const char* type = status >= 500   ? "server_error"
                     : status == 429 ? "rate_limit_error"
                     : status == 401 ? "authentication_error"
                                     : "invalid_request_error";
  const auto or_null = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
  const Json body = {
      {"error",
       {{"message", what()}, {"type", type}, {"param", or_null(param)}, {"code", or_null(code)}}}};
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace mnm
