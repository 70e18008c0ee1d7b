// Calls the kernels that its includer registers, by name, over standard input and output.
//
// A request: name, grid (3), threads and the arguments' count as one text line, then each
// argument as 8 bytes: its size, −1 for a scalar, −2 for null; then 8 bytes of the scalar,
// or the array. The answer: every array's bytes, in order.
#pragma once
#include "shim.hpp"

class Arguments {
 public:
  explicit Arguments(int count) {
    for (int i = 0; i < count; ++i) {
      const auto size = read<std::int64_t>();
      scalars_.push_back(size == -1 ? read<std::int64_t>() : 0);
      buffers_.push_back(size < 0 ? Buffer() : Buffer(size));
      if (size > 0) read_bytes(buffers_.back().data, size);
    }
  }
  void send() const {
    for (const Buffer& buffer : buffers_) {
      if (buffer.size > 0) std::fwrite(buffer.data, 1, buffer.size, stdout);
    }
    std::fflush(stdout);
  }
  template <class T>
  T get(int i) const {
    if constexpr (std::is_pointer_v<T>) {
      return static_cast<T>(buffers_[i].data);
    } else {
      return static_cast<T>(scalars_[i]);
    }
  }

 private:
  // Exactly as long as the array, so that the sanitizer sees one element too far.
  struct Buffer {
    void* data = nullptr;
    std::int64_t size = -1;
    Buffer() = default;
    explicit Buffer(std::int64_t size)
        : data(::operator new(size, std::align_val_t(256))), size(size) {}
    Buffer(const Buffer&) = delete;
    Buffer(Buffer&& other) noexcept : data(other.data), size(other.size) {
      other.data = nullptr;
    }
    ~Buffer() {
      if (data) ::operator delete(data, std::align_val_t(256));
    }
  };
  static void read_bytes(void* to, std::size_t size) {
    if (std::fread(to, 1, size, stdin) != size) std::exit(3);
  }
  template <class T>
  static T read() {
    T value;
    read_bytes(&value, sizeof value);
    return value;
  }
  std::vector<Buffer> buffers_;
  std::vector<std::int64_t> scalars_;
};

using Call = std::function<void(const Arguments&, Dim3, unsigned)>;
inline std::map<std::string, Call>& calls() {
  static std::map<std::string, Call> all;
  return all;
}

template <class... A, std::size_t... I>
Call callable(void (*kernel)(A...), bool flush, std::index_sequence<I...>) {
  return [kernel, flush](const Arguments& arguments, Dim3 grid, unsigned threads) {
    launch([&] { kernel(arguments.get<A>(I)...); }, grid, threads, flush);
  };
}
template <class... A>
bool enroll(const std::string& name, void (*kernel)(A...)) {
  // Kernels say their type in their name: float or float32, double or float64.
  const bool flush =
      name.find("float") != std::string::npos && name.find("float64") == std::string::npos;
  calls()[name] = callable(kernel, flush, std::index_sequence_for<A...>());
  return true;
}
#define ENROLL(NAME) static const bool enrolled_##NAME = enroll(#NAME, NAME)

inline int serve() {
  char name[128];
  Dim3 grid;
  unsigned threads;
  int count;
  while (std::scanf("%127s %u %u %u %u %d", name, &grid.x, &grid.y, &grid.z, &threads,
                    &count) == 6) {
    std::getchar();
    const Arguments arguments(count);
    calls().at(name)(arguments, grid, threads);
    arguments.send();
  }
  return 0;
}
