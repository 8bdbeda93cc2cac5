// The plain definition of what cublasLt.h says: D_i = alpha op(A_i) op(B_i) + beta C_i over
// matrices in column-major order, sums in f32. Attributes have the sizes and defaults of NVIDIA's
// header; whatever it does not know, does not fit or is not as promised is
// CUBLAS_STATUS_INVALID_VALUE.
#include <cublasLt.h>

#include <algorithm>
#include <cstring>

#include "kernels/element.h"
#include "tests/support/cuda_on_host/cuda_on_host.h"

struct cublasLtContext {};
struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType type;
  std::int64_t rows, columns, leading;
  std::int32_t batches = 1;
  std::int64_t apart = 0;
};
struct cublasLtMatmulDescOpaque_t {
  cublasOperation_t of_a = CUBLAS_OP_N, of_b = CUBLAS_OP_N;
};
struct cublasLtMatmulPreferenceOpaque_t {
  std::uint64_t work = 0;
  std::uint32_t alignment[4] = {256, 256, 256, 256};
};

namespace {

using Layout = cublasLtMatrixLayoutOpaque_t;
constexpr std::uint64_t kIsAlgorithm = 0x616c676f;  // then alignments of A to D, and work

template <typename T>
cublasStatus_t take(T& to, const void* from, std::size_t bytes) {
  if (!from || bytes != sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&to, from, sizeof(T));
  return CUBLAS_STATUS_SUCCESS;
}

// Rows and columns as op(.) has them.
std::int64_t rows_of(const Layout& m, cublasOperation_t op) {
  return op == CUBLAS_OP_T ? m.columns : m.rows;
}
std::int64_t columns_of(const Layout& m, cublasOperation_t op) {
  return op == CUBLAS_OP_T ? m.rows : m.columns;
}

bool fit(const cublasLtMatmulDescOpaque_t& product, const Layout& a, const Layout& b,
         const Layout& c, const Layout& d) {
  for (const Layout* const m : {&a, &b, &c, &d}) {
    if (m->rows < 1 || m->columns < 1 || m->leading < m->rows) return false;
    if (m->type != d.type || m->batches != d.batches || m->batches < 1 || m->apart < 0)
      return false;
  }
  return rows_of(a, product.of_a) == d.rows && columns_of(b, product.of_b) == d.columns &&
         columns_of(a, product.of_a) == rows_of(b, product.of_b) && c.rows == d.rows &&
         c.columns == d.columns && (d.batches == 1 || d.apart > 0);
}

template <typename T>
void multiply(const cublasLtMatmulDescOpaque_t& product, float alpha, const T* a,
              const Layout& of_a, const T* b, const Layout& of_b, float beta, const T* c,
              const Layout& of_c, T* d, const Layout& of_d) {
  const auto at = [](const T* matrix, const Layout& m, cublasOperation_t op, std::int64_t row,
                     std::int64_t column) {
    return mnm::to_float(op == CUBLAS_OP_T ? matrix[row * m.leading + column]
                                           : matrix[column * m.leading + row]);
  };
  for (std::int64_t i = 0; i < of_d.batches; ++i) {
    for (std::int64_t column = 0; column < of_d.columns; ++column) {
      for (std::int64_t row = 0; row < of_d.rows; ++row) {
        float sum = 0;
        for (std::int64_t k = 0; k < columns_of(of_a, product.of_a); ++k) {
          sum += at(a + i * of_a.apart, of_a, product.of_a, row, k) *
                 at(b + i * of_b.apart, of_b, product.of_b, k, column);
        }
        const float more = at(c + i * of_c.apart, of_c, CUBLAS_OP_N, row, column);
        d[i * of_d.apart + column * of_d.leading + row] =
            mnm::from_float<T>(alpha * sum + beta * more);
      }
    }
  }
}

cublasStatus_t wrong() {
  cuda_on_host::count_product(/*refused=*/true);
  return CUBLAS_STATUS_INVALID_VALUE;
}

bool aligned(const void* p, std::uint64_t bytes) {
  return bytes > 0 && reinterpret_cast<std::uintptr_t>(p) % bytes == 0;
}

}  // namespace

cublasStatus_t cublasLtCreate(cublasLtHandle_t* lightHandle) {
  static cublasLtContext context;
  *lightHandle = &context;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t lightHandle, cublasLtMatmulDesc_t computeDesc,
                              const void* alpha, const void* A, cublasLtMatrixLayout_t Adesc,
                              const void* B, cublasLtMatrixLayout_t Bdesc, const void* beta,
                              const void* C, cublasLtMatrixLayout_t Cdesc, void* D,
                              cublasLtMatrixLayout_t Ddesc, const cublasLtMatmulAlgo_t* algo,
                              void* workspace, size_t workspaceSizeInBytes, cudaStream_t) {
  if (!lightHandle) return CUBLAS_STATUS_NOT_INITIALIZED;
  const std::uint64_t* const algorithm = algo->data;
  if (algorithm[0] != kIsAlgorithm || !fit(*computeDesc, *Adesc, *Bdesc, *Cdesc, *Ddesc) ||
      !aligned(A, algorithm[1]) || !aligned(B, algorithm[2]) || !aligned(C, algorithm[3]) ||
      !aligned(D, algorithm[4]) || workspaceSizeInBytes < algorithm[5]) {
    return wrong();
  }
  cuda_on_host::count_product(/*refused=*/false);
  const std::size_t some = std::min<std::size_t>(algorithm[5], 4096);  // of its own work space
  std::memset(workspace, 0xff, some);
  std::memset(static_cast<char*>(workspace) + algorithm[5] - some, 0xff, some);
  mnm::with_element(Ddesc->type == CUDA_R_32F    ? mnm::Element::kF32
                    : Ddesc->type == CUDA_R_16BF ? mnm::Element::kBF16
                                                 : mnm::Element::kF16,
                    [&](auto element) {
                      using T = decltype(element);
                      multiply<T>(*computeDesc, *static_cast<const float*>(alpha),
                                  static_cast<const T*>(A), *Adesc, static_cast<const T*>(B),
                                  *Bdesc, *static_cast<const float*>(beta),
                                  static_cast<const T*>(C), *Cdesc, static_cast<T*>(D), *Ddesc);
                    });
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t lightHandle, cublasLtMatmulDesc_t operationDesc, cublasLtMatrixLayout_t Adesc,
    cublasLtMatrixLayout_t Bdesc, cublasLtMatrixLayout_t Cdesc, cublasLtMatrixLayout_t Ddesc,
    cublasLtMatmulPreference_t preference, int requestedAlgoCount,
    cublasLtMatmulHeuristicResult_t heuristicResultsArray[], int* returnAlgoCount) {
  using cuda_on_host::Algorithms;
  if (!lightHandle) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (requestedAlgoCount < 1 || !fit(*operationDesc, *Adesc, *Bdesc, *Cdesc, *Ddesc)) {
    return wrong();
  }
  *returnAlgoCount = 0;
  const Algorithms there = cuda_on_host::algorithms();
  if (there == Algorithms::kNone) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (there == Algorithms::kNoneListed) return CUBLAS_STATUS_SUCCESS;
  *returnAlgoCount = 1;
  cublasLtMatmulHeuristicResult_t& best = heuristicResultsArray[0];
  if (there == Algorithms::kOneThatIsNone) {
    best.state = CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
  }
  best.state = CUBLAS_STATUS_SUCCESS;
  best.workspaceSize = preference->work;
  best.algo = {{kIsAlgorithm, preference->alignment[0], preference->alignment[1],
                preference->alignment[2], preference->alignment[3], preference->work}};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* matmulDesc,
                                        cublasComputeType_t computeType, cudaDataType_t scaleType) {
  if (computeType != CUBLAS_COMPUTE_32F || scaleType != CUDA_R_32F) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  *matmulDesc = new cublasLtMatmulDescOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t matmulDesc,
                                              cublasLtMatmulDescAttributes_t attr, const void* buf,
                                              size_t sizeInBytes) {
  switch (attr) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return take(matmulDesc->of_a, buf, sizeInBytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return take(matmulDesc->of_b, buf, sizeInBytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* matLayout, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld) {
  *matLayout = new cublasLtMatrixLayoutOpaque_t{type, static_cast<std::int64_t>(rows),
                                                static_cast<std::int64_t>(cols), ld};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t matLayout,
                                                cublasLtMatrixLayoutAttribute_t attr,
                                                const void* buf, size_t sizeInBytes) {
  switch (attr) {
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return take(matLayout->batches, buf, sizeInBytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return take(matLayout->apart, buf, sizeInBytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* pref) {
  *pref = new cublasLtMatmulPreferenceOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t pref) {
  delete pref;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t pref,
                                                    cublasLtMatmulPreferenceAttributes_t attr,
                                                    const void* buf, size_t sizeInBytes) {
  if (attr == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) return take(pref->work, buf, sizeInBytes);
  const int matrix = attr - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
  if (matrix < 0 || matrix > 3) return CUBLAS_STATUS_INVALID_VALUE;
  return take(pref->alignment[matrix], buf, sizeInBytes);
}
