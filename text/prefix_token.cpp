#include "text/prefix_token.h"

#include <string>

#include "base/json.h"
#include "text/json_members.h"

namespace mnm {

std::optional<std::int32_t> prefix_token(const std::filesystem::path& directory,
                                         const TokenizerJson& tokenizer) {
  for (const char* key : {"bos_token", "eos_token"}) {
    for (const char* file : {"tokenizer_config.json", "special_tokens_map.json"}) {
      if (!std::filesystem::exists(std::filesystem::symlink_status(directory / file))) continue;
      const nlohmann::json config = read_json(directory / file);
      const nlohmann::json& token = member(config, key);
      const std::string text = token.is_object() ? text_of(token, "content") : text_of(config, key);
      const auto found = tokenizer.ids.find(text);
      if (!text.empty() && found != tokenizer.ids.end()) return found->second;
    }
  }
  return std::nullopt;
}

}  // namespace mnm
