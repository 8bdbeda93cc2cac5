// A request that is refused or fails, as OpenAI's clients expect to be told.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

#include "base/error.h"

namespace mnm {

// The message is one sentence for the person who wrote the client. `status` is HTTP's. `param` is
// the member of the request that is at fault, or empty. `code` is a word for programs, or empty.
class ApiError : public Error {
 public:
  ApiError(int http_status, std::string at_fault, std::string word, const std::string& message)
      : Error(message), status(http_status), param(std::move(at_fault)), code(std::move(word)) {}

  // {"error": {"message", "type", "param", "code"}}
  std::string json() const;

  int status;
  std::string param, code;
};

// 400: the member `param` of the request is wrong.
template <typename... Args>
[[noreturn]] void refuse(std::string param, fmt::format_string<Args...> text, Args&&... args) {
  throw ApiError(400, std::move(param), "", fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace mnm
