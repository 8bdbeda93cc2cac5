#include "text/end_tokens.h"

#include "base/json.h"

namespace mnm {

std::vector<std::int64_t> end_tokens(const std::filesystem::path& checkpoint,
                                     const nlohmann::json& config) {
  const std::filesystem::path file = checkpoint / "generation_config.json";
  nlohmann::json generation;
  if (std::filesystem::exists(std::filesystem::symlink_status(file))) generation = read_json(file);
  const bool generates = generation.is_object() && generation.contains("eos_token_id");
  const nlohmann::json& from = generates ? generation : config;
  std::vector<std::int64_t> ends;
  if (!from.is_object() || !from.contains("eos_token_id")) return ends;
  const nlohmann::json& ids = from["eos_token_id"];
  for (const nlohmann::json& id : ids.is_array() ? ids : nlohmann::json::array({ids})) {
    if (id.is_number_integer()) ends.push_back(id.get<std::int64_t>());
  }
  return ends;
}

}  // namespace mnm
