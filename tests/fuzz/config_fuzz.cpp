#include "base/json.h"
#include "families/open_model.h"
#include "model/cost.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mnm::fuzz::expect_answer([&] {
    const auto config = mnm::parse_json(mnm::fuzz::text_of(data, size), "config.json");
    const mnm::DescribedModel described = mnm::describe_model(config, {}, "config.json");
    const mnm::NestedModel& model = described.model;
    mnm::cost_of(model, model.space.full(), {});
    described.family->huggingface_config(model, model.space.full(), model.dtype);
  });
  return 0;
}
