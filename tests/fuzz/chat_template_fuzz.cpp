#include "tests/fuzz/fuzz.h"
#include "text/chat_template.h"
#include "text/end_tokens.h"

// What generating reads beside a tokenizer: templates of chat turns and the tokens that end a text.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const mnm::fuzz::Scratch scratch;
  const std::string_view bytes = mnm::fuzz::text_of(data, size);
  const mnm::ChatTurn turn = {"be brief", "hello", {{"a", "b"}}};
  for (const char* name :
       {"chat_template.jinja", "tokenizer_config.json", "generation_config.json"}) {
    const auto path = scratch.write(name, bytes);
    mnm::fuzz::expect_answer([&] {
      const auto chat = mnm::find_chat_template(scratch.path());
      if (chat) mnm::chat_prompt(*chat, turn, "26 Jul 2024");
    });
    mnm::fuzz::expect_answer([&] { mnm::end_tokens(scratch.path(), {}); });
    std::filesystem::remove(path);
  }
  return 0;
}
