// docs/models.md is made from what the families say of themselves.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "families/family.h"
#include "model/files.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

std::string code(const std::string& text) { return text.empty() ? "none" : "`" + text + "`"; }

std::string page() {
  std::string text =
      "# Models that are read\n\n"
      "A model is read whose `config.json` has one of these `model_type`s, with weights in\n"
      "safetensors. Each row is held to transformers, ONNX Runtime and the `gguf` package on "
      "random\n"
      "tiny checkpoints, whole, token by token and cut "
      "(`tests/families/llama_architectures_test.cpp`).\n"
      "Submodels of one width load with the class of the row; of different widths, with a bridge "
      "beside\n"
      "them (`trust_remote_code`). Every row is written as ONNX. Where llama.cpp has no "
      "architecture for\n"
      "different widths, `export --format gguf` says so.\n\n"
      "RoPE is read in the types default, linear, llama3 and yarn. A window of positions is "
      "computed;\n"
      "llama.cpp's architectures have none, so a GGUF file states the window as its context.\n";
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
