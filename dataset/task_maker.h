// Makes a task of questions or texts, one JSON object a line:
//
//   {"context": "2 + 2 =", "choices": ["3", "4"], "gold": 1}              a question
//   {"contexts": ["Ann", "Bo"], "continuation": "sings", "gold": 0}       one that fills a gap
//   {"text": "A text.", "counted": "A text ."}                            a text
//
// A text's words and bytes are counted in `counted`, or, without it, in the text itself. Other
// members are allowed and ignored. Tokens are those of lm-evaluation-harness 0.4.13
// (lm_eval/api/model.py, _encode_pair; lm_eval/utils.py, get_rolling_token_windows), so that its
// log-likelihoods can judge ours request by request.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "dataset/task_file.h"

namespace mnm {

struct TaskTokens {
  // Tokens of a text, with or without what the tokenizer puts around one. Error with the reason.
  std::function<std::vector<std::int64_t>(std::string_view text, bool around)> encode;
  std::string prefix_text;  // a text that begins with it gets nothing around it; empty: none does
  std::int64_t vocab_size = 0;
  std::string vocabulary;  // as TaskProtocol has it
};

struct TaskSettings {
  std::int64_t window = 0;
  std::int64_t prefix = -1;
  std::string delimiter = " ";
  bool cut = false;  // cut what does not fit the window on the left, as the harness does
};

// `lines`: the contents of the file, `name` its name. Error, with the number of the line, if a line
// is no question or text or of another kind than the first; if a context is empty and there is no
// prefix; if there are no choices, one is empty or `gold` is none of them; and if an answer does
// not fit the window.
TaskFile make_task(std::string_view lines, const std::string& name, const TaskTokens& tokens,
                   const TaskSettings& settings);

}  // namespace mnm
