// A chat's turns as text, the way a checkpoint was trained on them. A chat_template is a program in
// Jinja, which is not run here: the public ones of two kinds are known by their marks.
//
// Llama 3: <|start_header_id|>user<|end_header_id|>, two line ends, the words, <|eot_id|>; from 3.1
// on a system turn with the date is always there. ChatML (Qwen, SmolLM2, Yi): <|im_start|>user, a
// line end, the words, <|im_end|> and a line end; some have a system turn of their own.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace mnm {

struct ChatTemplate {
  std::string text;   // in Jinja
  std::string begin;  // the token that begins a text, as tokenizer_config.json names it; may be ""
};

struct ChatTurn {
  std::optional<std::string> system;
  std::string user;
};

// chat_template.jinja, or else what tokenizer_config.json holds.
std::optional<ChatTemplate> find_chat_template(const std::filesystem::path& directory);

// Up to where the answer begins: what transformers' apply_chat_template gives with
// add_generation_prompt. All special tokens are in it (Template::kLeaveOut). `today`: as in
// "26 Jul 2024". Error, with the reason alone, for a template of another kind.
std::string chat_prompt(const ChatTemplate& chat, const ChatTurn& turn, std::string_view today);

}  // namespace mnm
