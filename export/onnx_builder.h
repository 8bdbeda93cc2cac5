// Builds an OnnxGraph node by node, with names that tell where a node belongs:
//
//   OnnxBuilder graph("scorer", Dtype::kBF16);
//   const OnnxValue ids = graph.input("input_ids", OnnxType::kI64, {"batch_size",
//   "sequence_length"});
//   {
//     const auto scope = graph.scope("embed_tokens");
//     x = graph.op("Gather", {graph.weight("model.embed_tokens.weight"), ids});
//   }                                    // "/embed_tokens/Gather", "/embed_tokens/Gather_output_0"
//   graph.output("logits", x, OnnxType::kF32, {"batch_size", "sequence_length", 512});
//   return graph.finish();
//
// Arithmetic runs in type(): f16 where weights are stored in f16, else f32. Weights stored in bf16
// are cast, since runtimes store that type and few compute in it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "export/onnx_graph.h"
#include "model/dtype.h"

namespace mnm {

// A tensor of the graph, by its name. An empty name leaves out an optional input.
struct OnnxValue {
  std::string name;
};

class OnnxBuilder {
 public:
  OnnxBuilder(std::string name, Dtype stored);
  ~OnnxBuilder();

  OnnxType stored() const;  // of weights, as the file holds them
  OnnxType type() const;    // of arithmetic: weight(), number()

  // While the returned guard lives, `part` is a further part of the path in the names of nodes.
  class [[nodiscard]] Scope {
   public:
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    friend class OnnxBuilder;
    Scope(std::string& path, std::string_view part);
    std::string& path_;
    std::size_t before_;
  };
  Scope scope(std::string_view part);

  OnnxValue input(std::string name, OnnxType type, std::vector<OnnxDim> shape);
  // Makes `value` an output of that name.
  void output(std::string name, OnnxValue value, OnnxType type, std::vector<OnnxDim> shape);
  // The same in f32, of a value in type().
  void output_f32(std::string name, const OnnxValue& value, std::vector<OnnxDim> shape);

  // A tensor of the slice plan, by the submodel's name, in type() or another type. as_stored() has
  // no cast; it is for a Gather, whose result is cheaper to cast.
  OnnxValue weight(const std::string& tensor) { return weight(tensor, type()); }
  OnnxValue weight(const std::string& tensor, OnnxType type);
  OnnxValue as_stored(const std::string& tensor);

  // Constants. Equal constants are stored once.
  OnnxValue number(double value) { return number(value, type()); }  // a scalar
  OnnxValue number(double value, OnnxType type);                    // of floats
  OnnxValue integer(std::int64_t value);                            // a scalar
  OnnxValue integers(std::vector<std::int64_t> values);             // a vector
  OnnxValue vector(const std::string& name, std::vector<float> values, OnnxType type);

  // A node. The second form is for operators with several outputs.
  OnnxValue op(const std::string& op, const std::vector<OnnxValue>& inputs,
               OnnxAttributes attributes = {});
  std::vector<OnnxValue> op(const std::string& op, const std::vector<OnnxValue>& inputs,
                            std::size_t outputs, OnnxAttributes attributes = {});

  // Operators that every family uses.
  OnnxValue cast(const OnnxValue& x, OnnxType from, OnnxType to);  // x itself where they are equal
  OnnxValue add(const OnnxValue& a, const OnnxValue& b) { return op("Add", {a, b}); }
  OnnxValue sub(const OnnxValue& a, const OnnxValue& b) { return op("Sub", {a, b}); }
  OnnxValue mul(const OnnxValue& a, const OnnxValue& b) { return op("Mul", {a, b}); }
  OnnxValue reshape(const OnnxValue& x, std::vector<std::int64_t> shape);  // 0: as x has it
  OnnxValue reshape(const OnnxValue& x, const OnnxValue& shape);
  OnnxValue transpose(const OnnxValue& x, std::vector<std::int64_t> order);
  OnnxValue unsqueeze(const OnnxValue& x, std::vector<std::int64_t> dims);
  OnnxValue concat(const std::vector<OnnxValue>& parts, std::int64_t dim);
  // Entries of a shape, as Shape gives it: one as a scalar, or some as a vector.
  OnnxValue dimension(const OnnxValue& shape, std::int64_t dim);
  OnnxValue dimensions(const OnnxValue& shape, std::vector<std::int64_t> dims);
  // Elements [begin, end) of a dimension.
  OnnxValue slice(const OnnxValue& x, std::int64_t dim, std::int64_t begin, std::int64_t end);
  std::vector<OnnxValue> split(const OnnxValue& x, std::int64_t dim,
                               std::vector<std::int64_t> sizes);

  // The body of a Loop, Scan or If of this graph. It sees this graph's values by their names, and
  // its weights and constants are kept in this graph. finish_body() of the body gives the
  // attribute. This builder must outlive it.
  OnnxBuilder body(std::string name);
  OnnxAttribute finish_body();

  // The graph. The builder is empty afterwards.
  OnnxGraph finish();

 private:
  struct Shared;  // what a graph and its bodies have in common
  OnnxBuilder(std::string name, std::shared_ptr<Shared> shared, std::string path);

  OnnxValue constant(OnnxConstant constant);

  OnnxGraph graph_;
  std::unordered_set<std::string> made_;  // values of this graph's nodes that are no output yet
  std::vector<std::pair<std::string, std::string>> renamed_;  // value, output that it becomes
  std::shared_ptr<Shared> shared_;
  std::string path_;
};

}  // namespace mnm
