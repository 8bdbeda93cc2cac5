#include "generate/generation.h"

#include <algorithm>
#include <cmath>

#include "base/stopwatch.h"

namespace mnm {
namespace {

constexpr std::size_t kChunk = 512;  // of a prompt, so that Ctrl-C and memory need not wait

}  // namespace

std::string_view to_string(Finish finish) {
  switch (finish) {
    case Finish::kEnd:
      return "end";
    case Finish::kNewTokens:
      return "new tokens";
    case Finish::kContext:
      return "context";
    case Finish::kStopped:
      return "stopped";
  }
  return "";
}

Generation generate(TokenSource& source, std::span<const std::int64_t> prompt,
                    const GenerationLimits& limits,
                    const std::function<bool(std::optional<std::int64_t>)>& sink) {
  Generation out;
  const Stopwatch start;
  for (std::size_t at = 0; at < prompt.size(); at += kChunk) {
    if (!sink({})) return out;
    source.read(prompt.subspan(at, std::min(kChunk, prompt.size() - at)));
  }
  out.prefill_seconds = start.seconds();
  while (true) {
    const auto done = static_cast<std::int64_t>(out.tokens.size());
    if (done >= limits.new_tokens) {
      out.finish = Finish::kNewTokens;
      return out;
    }
    // A token is computed from all before it, which take a position each.
    const std::int64_t room = limits.context - static_cast<std::int64_t>(prompt.size()) - done + 1;
    if (room <= 0) {
      out.finish = Finish::kContext;
      return out;
    }
    const Stopwatch pass;
    const std::vector<std::int64_t> tokens = source.next(std::min(limits.new_tokens - done, room));
    if (done > 0) {
      out.decode_seconds += pass.seconds();
      out.decoded += static_cast<std::int64_t>(tokens.size());
    }
    for (const std::int64_t token : tokens) {
      out.tokens.push_back(token);
      const bool go_on = sink(token);
      if (limits.ends.contains(token)) {
        out.finish = Finish::kEnd;
        return out;
      }
      if (!go_on) return out;
    }
  }
}

std::uint64_t bytes_per_token(const NestedModel& model, const Widths& widths, Dtype dtype,
                              double position) {
  std::int64_t elements = 0;
  for (const TensorSlice& slice : plan_slices(model.table, widths).tensors) {
    const bool row = slice.spec->role == Role::kEmbedding && slice.spec->flops_per_element == 0;
    elements += row ? slice.shape.back() : slice.elements();
  }
  const auto context = std::max<std::int64_t>(1, std::llround(position));
  const Cost cost = cost_of(model, widths, {.dtype = dtype, .context = context});
  return static_cast<std::uint64_t>(elements) * size_of(dtype) +
         static_cast<std::uint64_t>(std::llround(position * static_cast<double>(cost.kv_bytes))) +
         static_cast<std::uint64_t>(cost.state_bytes);
}

}  // namespace mnm
