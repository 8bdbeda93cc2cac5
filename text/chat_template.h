// Writes the turns of a chat as text, in the form that a checkpoint was trained on. A checkpoint's
// chat_template is a program in the language Jinja, which is not run here. Instead, public
// templates of three kinds are recognised by their marks:
//
// - Llama 3: <|start_header_id|>user<|end_header_id|>, two line ends, the words, <|eot_id|>. From
//   Llama 3.1 on there is always a system turn, which has the date.
// - ChatML (Qwen, SmolLM2, Yi): <|im_start|>user, a line end, the words, <|im_end|> and a line end.
//   Some of these templates have a system turn that is used if the user gives none. Where a line
//   does not end after each role and each turn (Phi-4), it is refused.
// - Gemma: <start_of_turn>user, a line end, the words, <end_of_turn> and a line end. Answers are of
//   the role `model`. From Gemma 3 on the system's words begin the first user's; before, there are
//   none.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mnm {

struct ChatTemplate {
  std::string text;   // in Jinja
  std::string begin;  // the token that begins a text, from tokenizer_config.json; may be empty
};

// What was said and answered before.
struct ChatExchange {
  std::string user, assistant;
};

struct ChatTurn {
  std::optional<std::string> system;
  std::string user;
  std::vector<ChatExchange> earlier = {};
};

// Reads chat_template.jinja. If there is no such file, takes the template in tokenizer_config.json.
// Nothing if that has none either.
std::optional<ChatTemplate> find_chat_template(const std::filesystem::path& directory);

// The text of the turn and of those before it, up to where the answer begins. It equals what
// transformers' apply_chat_template gives with add_generation_prompt. The text contains all special
// tokens, so it is encoded with Template::kLeaveOut. `today` looks like "26 Jul 2024". Error if the
// template is of another kind; its message is only the reason, and the caller adds the file.
std::string chat_prompt(const ChatTemplate& chat, const ChatTurn& turn, std::string_view today);

std::string chat_date();  // today's, of the local clock: "26 Jul 2024"

}  // namespace mnm
