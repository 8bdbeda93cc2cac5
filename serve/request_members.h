// The members of a request's JSON, taken one by one. Each mistake is an ApiError that names the
// member. Pure.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "generate/sampler.h"

namespace mnm {

// The body as a JSON object. ApiError says where it is none; text that is not UTF-8 is none.
nlohmann::json parse_body(std::string_view body);

// A token id, that is a whole number from 0 up. Nothing if it is none.
std::optional<std::int64_t> token_id(const nlohmann::json& json);
std::vector<std::int64_t> token_ids(const nlohmann::json& list, const std::string& param);

// Each member is taken once. What is left in the end is refused. Null counts as absent: many
// clients send it for what they leave out.
class Members {
 public:
  explicit Members(nlohmann::json body) : body_(std::move(body)) {}

  nlohmann::json take(const std::string& name);  // null if it is absent
  bool flag(const std::string& name);            // false if it is absent
  std::optional<std::int64_t> whole(const std::string& name, std::int64_t low, std::int64_t high);
  double real(const std::string& name, double fallback, double low, double high);
  std::string text(const std::string& name);  // must be there
  std::optional<std::string> optional_text(const std::string& name);
  // temperature, top_p and top_k. `temperature`: if it is absent.
  Sampling sampling(double temperature);
  // What this server does not do may only be asked for with a value that asks for nothing.
  void require_idle(const std::string& name, std::initializer_list<nlohmann::json> idle,
                    const char* why);
  void require_empty() const;  // nothing is left

 private:
  nlohmann::json body_;
};

}  // namespace mnm
