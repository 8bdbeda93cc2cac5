#include "families/granularities.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <functional>
#include <utility>

#include "base/error.h"
#include "families/config_reader.h"
#include "families/may_skip.h"

namespace mnm {
namespace {

// What is wrong with a layer's list, or nothing.
std::string flaw(std::span<const Width> list, Width full) {
  if (list.empty()) return "is empty";
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (list[i] < 1) return fmt::format("holds {}, which is below 1", list[i]);
    if (i > 0 && list[i] <= list[i - 1]) {
      return fmt::format("does not ascend at {}", list[i]);
    }
  }
  if (list.back() != full) {
    return fmt::format("ends with {}, expected the full width {}", list.back(), full);
  }
  return "";
}

std::vector<Width> read_list(const nlohmann::json& list, const std::string& name, Width full) {
  std::vector<Width> widths;
  for (const nlohmann::json& value : list) {
    const std::int64_t width = value.is_number_integer() ? value.get<std::int64_t>() : 0;
    if (width < 1 || width > kMaxSize) {
      fail("{} holds {}, expected widths from 1 to {}", name, shown(value), full);
    }
    widths.push_back(static_cast<Width>(width));
  }
  if (const std::string why = flaw(widths, full); !why.empty()) {
    fail("{} is {}: it {}", name, shown(list), why);
  }
  return widths;
}

// Error where the choices of all layers are too many: every uniform width is costed in every layer,
// and one list of a config stands for all layers.
void check_number(std::size_t granularities, std::size_t layers) {
  constexpr std::size_t kMostChoices = 1 << 16;
  if (granularities > kMostChoices / layers) {
    fail("{} layers of {} granularities each are more than {} choices, the most that are read here",
         layers, granularities, kMostChoices);
  }
}

std::vector<std::vector<Width>> read_stated(const nlohmann::json& stated, std::string_view key,
                                            std::span<const Width> full) {
  if (!stated.is_array() || stated.empty()) {
    fail("{} is {}, expected a list of widths, or one such list per layer", key, shown(stated));
  }
  std::size_t lists = 0, other = 0;  // how many there are, and an entry that is none
  for (std::size_t entry = 0; entry < stated.size(); ++entry) {
    if (stated[entry].is_array()) {
      ++lists;
    } else {
      other = entry;
    }
  }
  const bool per_layer = lists > 0;
  if (per_layer && lists < stated.size()) {
    fail("{}[{}] is {}, which is no list: all entries must be lists, one per layer, or none", key,
         other, shown(stated[other]));
  }
  if (per_layer && stated.size() != full.size()) {
    fail("{} holds {} lists, expected one for each of the {} layers", key, stated.size(),
         full.size());
  }
  std::size_t longest = stated.size();
  if (per_layer) {
    longest = 0;
    for (const nlohmann::json& list : stated) longest = std::max(longest, list.size());
  }
  check_number(longest, full.size());
  std::vector<std::vector<Width>> layers;
  for (std::size_t layer = 0; layer < full.size(); ++layer) {
    layers.push_back(
        per_layer ? read_list(stated[layer], fmt::format("{}[{}]", key, layer), full[layer])
                  : read_list(stated, fmt::format("{} in layer {}", key, layer), full[layer]));
  }
  return layers;
}

// "1/4" or "128": a whole number from 1 to kMaxSize, and the same for the denominator (0: none).
struct Term {
  std::int64_t value = 0;
  std::int64_t den = 0;
};

std::vector<Term> parse_text(std::string_view text) {
  const auto refuse = [text](std::string_view item) {
    fail_usage(
        "granularities '{}': '{}' is neither a width nor a fraction; write 64,128,256,512 or "
        "1/8,1/4,1/2,1",
        text, item);
  };
  const auto number = [&](std::string_view digits, std::string_view item) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || value < 1 ||
        value > kMaxSize) {
      refuse(item);
    }
    return value;
  };
  std::vector<Term> terms;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    std::string_view item = text.substr(begin, end - begin);
    while (item.starts_with(' ')) item.remove_prefix(1);
    while (item.ends_with(' ')) item.remove_suffix(1);
    const std::size_t slash = item.find('/');
    Term term{number(item.substr(0, slash), item), 0};
    if (slash != std::string_view::npos) term.den = number(item.substr(slash + 1), item);
    terms.push_back(term);
    begin = end + 1;
  }
  return terms;
}

std::vector<std::vector<Width>> read_said(std::string_view text, std::span<const Width> full) {
  const std::vector<Term> terms = parse_text(text);
  check_number(terms.size(), full.size());
  // One fraction makes all of them fractions, so that "1/4,1/2,1" ends with the full width.
  const auto fraction = std::ranges::find_if(terms, [](const Term& t) { return t.den != 0; });
  const bool fractions = fraction != terms.end();
  const auto mixed =
      std::ranges::find_if(terms, [](const Term& t) { return t.den == 0 && t.value > 1; });
  if (fractions && mixed != terms.end()) {
    fail_usage(
        "granularities '{}' mix shares and widths: {}/{} is a share of the full width, and {} "
        "is a width; write all as shares, or all as widths",
        text, fraction->value, fraction->den, mixed->value);
  }

  std::vector<std::vector<Width>> layers;
  for (std::size_t layer = 0; layer < full.size(); ++layer) {
    std::vector<Width> widths;
    for (const Term& term : terms) {
      std::int64_t width = term.value;
      if (fractions) {
        const std::int64_t den = term.den == 0 ? 1 : term.den;
        const std::int64_t product = term.value * full[layer];  // below 2^62
        if (product % den != 0) {
          fail_usage("granularities '{}': {}/{} of layer {}'s full width {} is no whole number",
                     text, term.value, den, layer, full[layer]);
        }
        width = product / den;
      }
      if (width > full[layer]) {
        fail_usage("granularities '{}': {} is wider than layer {}'s full width {}", text, width,
                   layer, full[layer]);
      }
      widths.push_back(static_cast<Width>(width));
    }
    if (const std::string why = flaw(widths, full[layer]); !why.empty()) {
      fail_usage("granularities '{}': the list for layer {} {}", text, layer, why);
    }
    layers.push_back(std::move(widths));
  }
  return layers;
}

}  // namespace

std::vector<std::vector<Width>> resolve_granularities(const nlohmann::json* stated,
                                                      std::string_view key, std::string_view said,
                                                      std::span<const Width> full) {
  std::vector<std::vector<Width>> layers;
  if (stated != nullptr) {
    layers = read_stated(*stated, key, full);
    if (!said.empty() && read_said(said, full) != layers) {
      fail_usage("granularities '{}' differ from the config's {} {}: leave them out", said, key,
                 shown(*stated));
    }
  } else if (!said.empty()) {
    layers = read_said(said, full);
  } else {
    for (const Width width : full) layers.push_back({width});
  }
  return layers;
}

void write_granularities(const WidthSpace& space, const Widths& widths, nlohmann::json& config) {
  std::vector<std::vector<Width>> layers;
  bool nested = false;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    if (widths[layer] == kSkip) continue;
    std::vector<Width>& kept = layers.emplace_back(space.layers[layer].granularities);
    std::erase_if(kept, [&](Width granularity) { return granularity >= widths[layer]; });
    kept.push_back(widths[layer]);
    nested = nested || kept.size() > 1;
  }
  if (!nested) return;
  const bool same = std::ranges::adjacent_find(layers, std::not_equal_to<>()) == layers.end();
  config[kGranularitiesKey] = same ? nlohmann::json(layers.front()) : nlohmann::json(layers);
}

void keep_first_layers(nlohmann::json& config, std::int64_t layers) {
  config.erase(kMaySkipKey);
  for (const char* key : {kGranularitiesKey, kWidthsKey}) {
    const auto list = config.find(key);
    const bool per_layer = list != config.end() && list->is_array() && !list->empty() &&
                           (list->front().is_array() || key == std::string_view(kWidthsKey));
    if (!per_layer) continue;
    if (std::cmp_less(list->size(), layers)) {
      fail_usage("{} says what {} layers take: more of them cannot be made up", key, list->size());
    }
    list->erase(list->begin() + layers, list->end());
  }
}

}  // namespace mnm
