// How far a calibration is: the layers that are ranked, in a file beside the target.
//
// The file is text, and appears anew, whole, with every layer. Its first line says whose it is, the
// second is a JSON object of the settings. Each further line is a layer, in their order: its order
// of neurons and their means. These lines begin with the fingerprint of what follows.
#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "neurons/neuron_order.h"

namespace mnm {

struct RankedLayer {
  NeuronOrder order;
  std::vector<float> means{};  // [channels], as the checkpoint has them; empty if not asked for
  friend bool operator==(const RankedLayer&, const RankedLayer&) = default;
};

class UnfinishedRanking {
 public:
  // `settings`: an object of all that changes a ranking. `layers`: of the model. What the file
  // holds is taken up if it has these settings, up to the first layer that cannot be right. Error
  // if no such call can have left what is there: a link, a directory, a file of another user or
  // with a second name, a file that begins otherwise.
  UnfinishedRanking(std::filesystem::path file, const nlohmann::json& settings,
                    const std::vector<LayerNeurons>& layers, bool with_means);

  const std::vector<RankedLayer>& layers() const { return layers_; }  // the first ones of the model
  std::size_t resumed() const { return resumed_; }                    // how many the file had
  // Why the file, or a part of it, was not taken up: a sentence. Empty if all of it was, or there
  // was none.
  std::string_view left_aside() const { return left_aside_; }

  void add(RankedLayer layer);  // and writes the file
  void remove() const;

 private:
  void read(const nlohmann::json& settings, const std::vector<LayerNeurons>& layers,
            bool with_means);

  std::filesystem::path file_;
  std::string text_;  // of the file
  std::vector<RankedLayer> layers_;
  std::size_t resumed_ = 0;
  std::string left_aside_;
};

// Where the layers lie while `target` is made: ".NAME.unfinished".
std::filesystem::path unfinished_ranking(const std::filesystem::path& target);

}  // namespace mnm
