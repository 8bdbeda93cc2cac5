// docs/models.md is made from what the families say of themselves.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "families/family.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

std::string code(const std::string& text) { return text.empty() ? "none" : "`" + text + "`"; }

std::string page() {
  std::string text = R"(# Models that are read

A checkpoint is read if one of these tables has the `model_type` of its `config.json`, and if its
weights are in safetensors.

- Every row is tested on tiny checkpoints with random weights: whole sequences or images, token by
  token where the model writes text, and submodels. transformers, ONNX Runtime and the `gguf`
  package are the judges (`tests/families`).
- A submodel with one width in all layers loads in transformers with the class of its row. A
  submodel of different widths needs a bridge: a Python file that the export holds, and that is
  loaded with `trust_remote_code`. MatMamba-Vision needs it at every width. Some Mamba-2 submodels
  of one width need it too ([exports.md](exports.md#state-space-models)), and DINOv2's whose width is
  no multiple of `hidden_size`. Gemma 3n needs none ([gemma3n.md](gemma3n.md)).
- Every row can be exported as ONNX.
- The columns about GGUF name llama.cpp's architecture for submodels of one width and of different
  widths. Where it has none, `export --format gguf` says so.
- RoPE is read in the types default, linear, llama3, yarn, dynamic and longrope. The last two take
  their frequencies from the length of the whole sequence. `generate` takes the length of the prompt
  and of the tokens that it may add.
- A window of positions is computed. llama.cpp has windows for Gemma 2, Gemma 3, Gemma 3n and OLMo 3, so the
  GGUF file of another model states the window as its context length.
- Widths that differ from layer to layer are also read from transformers' key `per_layer_config`.
)";
  for (const Family* family : families()) {
    text += fmt::format("\n## Family {}\n\n", family->name());
    text +=
        "| published as | `model_type` | class | differs by | GGUF, one width | GGUF, mixed |\n";
    text += "|---|---|---|---|---|---|\n";
    for (const ModelKind& kind : family->kinds()) {
      text += fmt::format("| {} | `{}` | `{}` | {} | {} | {} |\n", kind.published, kind.model_type,
                          kind.class_name, kind.differs.empty() ? "-" : kind.differs,
                          code(kind.gguf), code(kind.gguf_mixed));
    }
  }
  text += R"(
## The text part of a model of images and text

Gemma 3 from 4B on and Mistral Small 3.1 are such models: their `config.json` has a `text_config`.
Their text part is read once it is saved alone. These are the lines for transformers; copy
`tokenizer.json` and `tokenizer_config.json` beside what they write.

```
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
whole = AutoModelForImageTextToText.from_pretrained("MODEL", dtype="auto")
with torch.device("meta"):
    text = AutoModelForCausalLM.from_config(whole.config.text_config, dtype=whole.dtype)
text.model, text.lm_head = whole.model.language_model, whole.lm_head
text.save_pretrained("TEXT")
```
)";
  return text;
}

TEST(ModelsPage, IsWhatTheFamiliesSay) {
  const std::filesystem::path made = MNM_BINARY_DIR "/models.md";
  test::spew(made, page());
  EXPECT_EQ(read_text(MNM_SOURCE_DIR "/docs/models.md"), page())
      << "docs/models.md is another: copy " << made;
}

// No config of a kind's model_type is refused for that.
TEST(ModelsPage, EveryKindIsRecognized) {
  for (const Family* family : families()) {
    for (const ModelKind& kind : family->kinds()) {
      EXPECT_EQ(&family_of({{"model_type", kind.model_type}}), family) << kind.model_type;
    }
  }
}

}  // namespace
}  // namespace mnm
