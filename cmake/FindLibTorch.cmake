# LibTorch as plain imported targets: LibTorch::cpu, and LibTorch::cuda where the build has CUDA.
#
# find_package(Torch) of the PyPI wheel demands a CUDA toolkit even for CPU code; linking the shared
# libraries needs none. Looked for, in this order: Torch_DIR, CMAKE_PREFIX_PATH, the virtual
# environment .venv that scripts/setup makes.
set(_hints)
if(Torch_DIR)
  list(APPEND _hints ${Torch_DIR}/../../..)
endif()
string(REPLACE ":" ";" _prefixes "$ENV{CMAKE_PREFIX_PATH}")
foreach(_prefix ${CMAKE_PREFIX_PATH} ${_prefixes})
  list(APPEND _hints ${_prefix}/../.. ${_prefix})  # torch.utils.cmake_prefix_path is share/cmake
endforeach()
file(GLOB _venv ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
list(APPEND _hints ${_venv})

find_path(LibTorch_INCLUDE_DIR torch/csrc/api/include/torch/torch.h
          HINTS ${_hints} PATH_SUFFIXES include NO_CMAKE_FIND_ROOT_PATH)
# The libraries that go with those headers, and no others.
set(_lib HINTS ${LibTorch_INCLUDE_DIR}/../lib NO_DEFAULT_PATH)
find_library(LibTorch_CPU torch_cpu ${_lib})
find_library(LibTorch_C10 c10 ${_lib})
find_library(LibTorch_CUDA torch_cuda ${_lib})
find_library(LibTorch_C10_CUDA c10_cuda ${_lib})

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_CPU LibTorch_C10 LibTorch_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "run scripts/setup, or point Torch_DIR or CMAKE_PREFIX_PATH at a LibTorch")

if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  # -idirafter: LibTorch's include folder holds its own fmt, protobuf and nlohmann, which must not
  # hide the system's.
  add_library(LibTorch::c10 SHARED IMPORTED)
  set_target_properties(LibTorch::c10 PROPERTIES IMPORTED_LOCATION ${LibTorch_C10}
    INTERFACE_COMPILE_OPTIONS
      "SHELL:-idirafter ${LibTorch_INCLUDE_DIR};SHELL:-idirafter ${LibTorch_INCLUDE_DIR}/torch/csrc/api/include")
  # Without OpenMP the loops of ATen/Parallel.h run on one thread. Its functions are those that
  # LibTorch has loaded, so that there is one set of threads: a shared library leaves them open, and a
  # program is linked to the same file.
  file(GLOB _openmp ${LibTorch_INCLUDE_DIR}/../lib/libgomp*.so*)
  list(APPEND _openmp gomp)
  list(GET _openmp 0 _openmp)
  add_library(LibTorch::cpu SHARED IMPORTED)
  set_target_properties(LibTorch::cpu PROPERTIES IMPORTED_LOCATION ${LibTorch_CPU}
    INTERFACE_LINK_LIBRARIES LibTorch::c10
    INTERFACE_COMPILE_OPTIONS $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fopenmp>)
  set_property(TARGET LibTorch::cpu APPEND PROPERTY INTERFACE_LINK_LIBRARIES
    $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:${_openmp}>)
  if(LibTorch_CUDA AND LibTorch_C10_CUDA)
    add_library(LibTorch::c10_cuda SHARED IMPORTED)
    set_target_properties(LibTorch::c10_cuda PROPERTIES IMPORTED_LOCATION ${LibTorch_C10_CUDA})
    add_library(LibTorch::cuda SHARED IMPORTED)
    set_target_properties(LibTorch::cuda PROPERTIES IMPORTED_LOCATION ${LibTorch_CUDA}
      INTERFACE_LINK_LIBRARIES "LibTorch::cpu;LibTorch::c10_cuda")
  endif()
endif()
