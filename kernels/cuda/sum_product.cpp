#include "kernels/cuda/sum_product.h"

#include <cublasLt.h>
#include <cuda_runtime.h>
#include <dlfcn.h>

#include <array>
#include <map>
#include <mutex>
#include <string>

namespace mnm {
namespace {

// The library's functions, or null pointers where it is not there.
struct Library {
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&cublasLtMatmulDescCreate) describe = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) set = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout = nullptr;
  decltype(&cublasLtMatrixLayoutSetAttribute) set_layout = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) prefer = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) forget = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference = nullptr;

  bool whole = false;

  Library() {
    const std::string name = "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR);
    void* const library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    const auto take = [library](auto& function, const char* symbol) {
      function =
          reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, symbol));
      return function != nullptr;
    };
    whole = take(create, "cublasLtCreate") && take(matmul, "cublasLtMatmul") &&
            take(heuristic, "cublasLtMatmulAlgoGetHeuristic") &&
            take(describe, "cublasLtMatmulDescCreate") &&
            take(set, "cublasLtMatmulDescSetAttribute") &&
            take(layout, "cublasLtMatrixLayoutCreate") &&
            take(set_layout, "cublasLtMatrixLayoutSetAttribute") &&
            take(prefer, "cublasLtMatmulPreferenceCreate") &&
            take(forget, "cublasLtMatmulPreferenceDestroy") &&
            take(set_preference, "cublasLtMatmulPreferenceSetAttribute");
  }
};

// Everything of a product but its addresses. Kept for the process: there are as many as shapes.
struct Plan {
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t w = nullptr, a = nullptr, c = nullptr, d = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
  bool found = false;
};

std::uint32_t alignment_of(const void* p) {
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  std::uint32_t bytes = 256;
  while (address % bytes != 0) bytes /= 2;
  return bytes;
}

// cuBLAS counts by columns: a row-major matrix is its transpose there. So D^T [columns, rows] =
// W A^T + C^T, of which W is stored transposed, and the others are as they should be.
class SumProducts {
 public:
  const char* launch(const SumProduct& p, int device, void* work, std::size_t work_bytes) {
    if (!lt_.whole) return "there is no cuBLASLt of this program's version";
    const std::lock_guard lock(mutex_);
    cublasLtHandle_t& handle = handles_[device];
    if (!handle && lt_.create(&handle) != CUBLAS_STATUS_SUCCESS) {
      handle = nullptr;
      return "cuBLASLt does not start";
    }
    const Key key = key_of(p, device, work_bytes);
    const auto [at, is_new] = plans_.try_emplace(key);
    if (is_new) at->second = plan(p, handle, work_bytes);
    const Plan& plan = at->second;
    if (!plan.found) return "cuBLASLt has no algorithm for these shapes";
    const float one = 1;
    const cublasStatus_t status =
        lt_.matmul(handle, plan.product, &one, p.w, plan.w, p.a, plan.a, &one, p.c, plan.c, p.d,
                   plan.d, &plan.algorithm, work, work_bytes, /*stream=*/nullptr);
    return status == CUBLAS_STATUS_SUCCESS ? nullptr : "cuBLASLt refused the product";
  }

 private:
  using Key = std::array<std::int64_t, 18>;

  static Key key_of(const SumProduct& p, int device, std::size_t work_bytes) {
    return {device,
            static_cast<std::int64_t>(p.element),
            p.batches,
            p.rows,
            p.columns,
            p.depth,
            p.a_stride,
            p.a_batch,
            p.w_stride,
            p.c_stride,
            p.c_batch,
            p.d_stride,
            p.d_batch,
            alignment_of(p.a),
            alignment_of(p.w),
            alignment_of(p.c),
            alignment_of(p.d),
            static_cast<std::int64_t>(work_bytes)};
  }

  Plan plan(const SumProduct& p, cublasLtHandle_t handle, std::size_t work_bytes) const {
    const cudaDataType type = p.element == Element::kF32    ? CUDA_R_32F
                              : p.element == Element::kBF16 ? CUDA_R_16BF
                                                            : CUDA_R_16F;
    Plan plan;
    bool sound =
        lt_.describe(&plan.product, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS;
    const cublasOperation_t transposed = CUBLAS_OP_T;
    sound = sound && lt_.set(plan.product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                             sizeof transposed) == CUBLAS_STATUS_SUCCESS;
    const auto lay = [&](cublasLtMatrixLayout_t& layout, std::int64_t length, std::int64_t count,
                         std::int64_t stride, std::int64_t batch) {
      const auto batches = static_cast<std::int32_t>(p.batches);
      sound = sound &&
              lt_.layout(&layout, type, static_cast<std::uint64_t>(length),
                         static_cast<std::uint64_t>(count), stride) == CUBLAS_STATUS_SUCCESS &&
              lt_.set_layout(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batches,
                             sizeof batches) == CUBLAS_STATUS_SUCCESS &&
              lt_.set_layout(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &batch,
                             sizeof batch) == CUBLAS_STATUS_SUCCESS;
    };
    lay(plan.w, p.depth, p.columns, p.w_stride, 0);
    lay(plan.a, p.depth, p.rows, p.a_stride, p.a_batch);
    lay(plan.c, p.columns, p.rows, p.c_stride, p.c_batch);
    lay(plan.d, p.columns, p.rows, p.d_stride, p.d_batch);
    cublasLtMatmulPreference_t preference = nullptr;
    sound = sound && lt_.prefer(&preference) == CUBLAS_STATUS_SUCCESS;
    const auto demand = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      sound = sound && lt_.set_preference(preference, attribute, &value, sizeof value) ==
                           CUBLAS_STATUS_SUCCESS;
    };
    demand(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{work_bytes});
    demand(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(p.w));
    demand(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(p.a));
    demand(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(p.c));
    demand(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(p.d));
    cublasLtMatmulHeuristicResult_t best{};
    int count = 0;
    plan.found = sound &&
                 lt_.heuristic(handle, plan.product, plan.w, plan.a, plan.c, plan.d, preference, 1,
                               &best, &count) == CUBLAS_STATUS_SUCCESS &&
                 count > 0 && best.state == CUBLAS_STATUS_SUCCESS;
    plan.algorithm = best.algo;
    if (preference) lt_.forget(preference);
    return plan;
  }

  const Library lt_;
  std::mutex mutex_;
  std::map<int, cublasLtHandle_t> handles_;
  std::map<Key, Plan> plans_;
};

}  // namespace

const char* sum_product_cuda(const SumProduct& p, int device, void* work, std::size_t work_bytes) {
  if (p.batches < 1 || p.rows < 1 || p.columns < 1) return nullptr;
  if (p.depth < 1) return "a product of depth 0 is a copy";
  if (p.batches >> 31 != 0) return "too many matrices for one product";
  // Opened after LibTorch, whose library it finds by its name. Never destroyed, nor are its plans.
  static SumProducts& products = *new SumProducts;
  return products.launch(p, device, work, work_bytes);
}

}  // namespace mnm
