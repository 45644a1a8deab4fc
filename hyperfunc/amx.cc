// 3x3 convolutions and their kernels' gradients on AMX, for XLA's foreign function interface.
//
// Arrays are float32, [image, row, column, channel]. Products are of bfloat16, sums are float32. A
// tile register holds 16 x 16 float32 sums, or 16 rows of 32 bfloat16 factors. Each loop below keeps
// a square of 2 x 2 tiles of sums in registers 0 to 3, and loads the factors into 4 to 7.
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

constexpr int kTile = 16;          // Rows of a tile, and sums in a row of it.
constexpr int kDepth = 2 * kTile;  // Factors in a row of a tile.
constexpr int kTaps = 9;           // Of a 3x3 kernel.

// Memory for what is rearranged, kept by each thread from call to call.
class Workspace {
 public:
  ~Workspace() { std::free(memory_); }
  uint16_t* Get(size_t numbers) {
    const size_t bytes = (numbers * sizeof(uint16_t) + 4095) / 4096 * 4096;
    if (bytes > size_) {
      std::free(memory_);
      memory_ = std::aligned_alloc(4096, size_ = bytes);
      if (memory_ == nullptr) size_ = 0;
    }
    return static_cast<uint16_t*>(memory_);
  }

 private:
  void* memory_ = nullptr;
  size_t size_ = 0;
};
thread_local Workspace first_factor, second_factor;

// Ask the kernel for leave to use the tile registers, once for the process (XTILEDATA is 18).
bool IsAllowed() {
  constexpr int kRequestPermission = 0x1023;
  static const bool is_allowed = syscall(SYS_arch_prctl, kRequestPermission, 18) == 0;
  return is_allowed;
}

// While one lives, all eight tiles of this thread have their full size.
class Tiles {
 public:
  Tiles() {
    alignas(64) uint8_t config[64] = {1};  // Palette 1; then bytes in a row at 16, rows at 48.
    for (int i = 0; i < 8; i++) {
      config[16 + 2 * i] = 64;
      config[48 + i] = kTile;
    }
    _tile_loadconfig(config);
  }
  ~Tiles() { _tile_release(); }
};

struct Shape {
  int images, height, width;
  size_t pixels() const { return static_cast<size_t>(height) * width; }
};

__m256i Round(__m512 values) { return (__m256i)_mm512_cvtneps_pbh(values); }

// Two rows of factors side by side, as the second factor of a product has them: a0 b0 a1 b1 ...
__m512i Interleave(__m512 a, __m512 b) {
  const __m512i high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(Round(b)), 16);
  return _mm512_or_si512(_mm512_cvtepu16_epi32(Round(a)), high);
}

// Transpose 16 x 16 numbers of 32 bits.
void Transpose(__m512i* rows) {
  __m512i t[16];
  for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
  }
  for (int i = 0; i < 4; i++) {
    rows[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    rows[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    rows[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    rows[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0x88);
    t[i + 8] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0xdd);
    t[i + 12] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; i++) {
    rows[i] = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88);
    rows[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd);
    rows[i + 4] = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88);
    rows[i + 12] = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
  }
}

// Round an image into [height + 2][width + 2][channels], with zeros around.
void Pad(const float* image, const Shape& shape, int channels, uint16_t* out) {
  const size_t row = static_cast<size_t>(shape.width) * channels;
  const size_t padded = row + 2 * channels;
  std::memset(out, 0, padded * sizeof(*out));
  std::memset(out + (shape.height + 1) * padded, 0, padded * sizeof(*out));
  for (int y = 0; y < shape.height; y++, image += row) {
    uint16_t* to = out + (y + 1) * padded;
    std::memset(to, 0, channels * sizeof(*out));
    std::memset(to + channels + row, 0, channels * sizeof(*out));
    for (size_t i = 0; i < row; i += kTile)
      _mm256_storeu_si256((__m256i*)(to + channels + i), Round(_mm512_loadu_ps(image + i)));
  }
}

// Round a kernel [tap][in][out] into tiles [tap][in / 32][out / 16] of 16 pairs of inputs.
void Pack(const float* kernel, int in, int out, uint16_t* tiles) {
  for (int row = 0; row < kTaps * in; row += kDepth)
    for (int column = 0; column < out; column += kTile)
      for (int pair = 0; pair < kTile; pair++, tiles += kDepth) {
        const float* from = kernel + static_cast<size_t>(row + 2 * pair) * out + column;
        _mm512_storeu_si512(tiles, Interleave(_mm512_loadu_ps(from), _mm512_loadu_ps(from + out)));
      }
}

// Convolve with zeros around. Sums: 16 columns of two rows, by 32 output channels.
void Convolve(const float* images, const float* kernel, Shape shape, int in, int out,
              float* result) {
  const Tiles tiles;
  constexpr int kNumbers = kTile * kDepth;
  uint16_t* packed = second_factor.Get(static_cast<size_t>(kTaps) * in * out);
  Pack(kernel, in, out, packed);
  const size_t row = static_cast<size_t>(shape.width + 2) * in;
  uint16_t* padded = first_factor.Get((shape.height + 2) * row);
  for (int i = 0; i < shape.images; i++) {
    Pad(images + i * shape.pixels() * in, shape, in, padded);
    for (int y = 0; y < shape.height; y += 2)
      for (int x = 0; x < shape.width; x += kTile)
        for (int channel = 0; channel < out; channel += 2 * kTile) {
          _tile_zero(0);
          _tile_zero(1);
          _tile_zero(2);
          _tile_zero(3);
          const uint16_t* factor = packed + channel / kTile * kNumbers;
          for (int tap = 0; tap < kTaps; tap++) {
            const uint16_t* from = padded + (y + tap / 3) * row + (x + tap % 3) * in;
            for (int c = 0; c < in; c += kDepth, factor += out / kTile * kNumbers) {
              _tile_loadd(4, from + c, in * sizeof(*from));
              _tile_loadd(6, factor, 64);
              _tile_dpbf16ps(0, 4, 6);
              _tile_loadd(7, factor + kNumbers, 64);
              _tile_dpbf16ps(1, 4, 7);
              _tile_loadd(5, from + row + c, in * sizeof(*from));
              _tile_dpbf16ps(2, 5, 6);
              _tile_dpbf16ps(3, 5, 7);
            }
          }
          const size_t pitch = out * sizeof(*result);
          float* to = result + (i * shape.pixels() + static_cast<size_t>(y) * shape.width + x) * out;
          float* next_row = to + static_cast<size_t>(shape.width) * out;
          _tile_stored(0, to + channel, pitch);
          _tile_stored(1, to + channel + kTile, pitch);
          _tile_stored(2, next_row + channel, pitch);
          _tile_stored(3, next_row + channel + kTile, pitch);
        }
  }
}

// Sum the products of inputs and gradients [tap][in][out] over the pixels of all images.
//
// Each channel of the inputs becomes a plane of padded rows, one after the other, and so do the
// gradients: then a tap is an offset, and pixels are the factors' common index, 32 of them at once.
// Sums: 32 input channels by 32 output channels.
void SumProducts(const float* inputs, const float* gradient, Shape shape, int in, int out,
                 float* result) {
  const Tiles tiles;
  const size_t row = (shape.width + 2 + kTile - 1) / kTile * kTile;
  const size_t pixels = (shape.height * row + kDepth - 1) / kDepth * kDepth;
  const size_t plane = pixels + 3 * row + kDepth;  // The last taps read, times zero, so far.
  uint16_t* planes = first_factor.Get(plane * in);
  uint16_t* pairs = second_factor.Get(pixels * out);
  std::memset(planes, 0, plane * in * sizeof(*planes));
  std::memset(pairs, 0, pixels * out * sizeof(*pairs));
  std::memset(result, 0, static_cast<size_t>(kTaps) * in * out * sizeof(*result));
  for (int i = 0; i < shape.images; i++) {
    for (int y = 0; y < shape.height; y++)
      for (int x = 0; x < shape.width; x += kTile) {
        const size_t pixel = i * shape.pixels() + static_cast<size_t>(y) * shape.width + x;
        for (int c = 0; c < in; c += kTile) {
          __m512i block[kTile];
          for (int j = 0; j < kTile; j++)
            block[j] = _mm512_loadu_si512(inputs + (pixel + j) * in + c);
          Transpose(block);
          for (int j = 0; j < kTile; j++)
            _mm256_storeu_si256((__m256i*)(planes + (c + j) * plane + (y + 1) * row + x + 1),
                                Round((__m512)block[j]));
        }
        for (int j = 0; j < kTile; j += 2) {
          const float* from = gradient + (pixel + j) * out;
          uint16_t* to = pairs + (y * row + x + j) * out;
          for (int c = 0; c < out; c += kTile)
            _mm512_storeu_si512(to + 2 * c, Interleave(_mm512_loadu_ps(from + c),
                                                       _mm512_loadu_ps(from + out + c)));
        }
      }
    for (int tap = 0; tap < kTaps; tap++)
      for (int a = 0; a < in; a += 2 * kTile)
        for (int b = 0; b < out; b += 2 * kTile) {
          const size_t pitch = out * sizeof(*result);
          float* sums = result + (static_cast<size_t>(tap) * in + a) * out + b;
          float* lower = sums + kTile * out;
          _tile_loadd(0, sums, pitch);
          _tile_loadd(1, sums + kTile, pitch);
          _tile_loadd(2, lower, pitch);
          _tile_loadd(3, lower + kTile, pitch);
          const uint16_t* from = planes + a * plane + tap / 3 * row + tap % 3;
          const uint16_t* factor = pairs + 2 * b;
          for (size_t p = 0; p < pixels; p += kDepth) {
            _tile_loadd(4, from + p, plane * sizeof(*from));
            _tile_loadd(6, factor + p * out, pitch);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, factor + p * out + kDepth, pitch);
            _tile_dpbf16ps(1, 4, 7);
            _tile_loadd(5, from + kTile * plane + p, plane * sizeof(*from));
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
          }
          _tile_stored(0, sums, pitch);
          _tile_stored(1, sums + kTile, pitch);
          _tile_stored(2, lower, pitch);
          _tile_stored(3, lower + kTile, pitch);
        }
  }
}

using Array = ffi::Buffer<ffi::F32, 4>;
using Result = ffi::Result<Array>;

// Images [b h w in], a kernel [3 3 in out], and images [b h w out].
ffi::Error Check(const Array& images, const Array& kernel, const Array& others) {
  const auto size = images.dimensions(), taps = kernel.dimensions(), other = others.dimensions();
  if (taps[0] != 3 || taps[1] != 3 || taps[2] != size[3] || taps[3] != other[3] ||
      size[0] != other[0] || size[1] != other[1] || size[2] != other[2])
    return ffi::Error::InvalidArgument("AMX: the shapes are not those of a 3x3 convolution");
  if (size[1] % 2 || size[2] % kTile || taps[2] % kDepth || taps[3] % kDepth)
    return ffi::Error::InvalidArgument(
        "AMX: rows must be even, columns a multiple of 16, channels of 32");
  if (!IsAllowed()) return ffi::Error::Internal("AMX: the system does not allow it");
  return ffi::Error::Success();
}

Shape ShapeOf(const Array& images) {
  const auto size = images.dimensions();
  return {static_cast<int>(size[0]), static_cast<int>(size[1]), static_cast<int>(size[2])};
}

ffi::Error CallConvolve(Array images, Array kernel, Result result) {
  if (ffi::Error error = Check(images, kernel, *result); error.failure()) return error;
  const int in = kernel.dimensions()[2], out = kernel.dimensions()[3];
  Convolve(images.typed_data(), kernel.typed_data(), ShapeOf(images), in, out,
           result->typed_data());
  return ffi::Error::Success();
}

ffi::Error CallSumProducts(Array inputs, Array gradient, Result result) {
  if (ffi::Error error = Check(inputs, *result, gradient); error.failure()) return error;
  const int in = inputs.dimensions()[3], out = gradient.dimensions()[3];
  SumProducts(inputs.typed_data(), gradient.typed_data(), ShapeOf(inputs), in, out,
              result->typed_data());
  return ffi::Error::Success();
}

}  // namespace

extern "C" bool HyperfuncIsAllowed() { return IsAllowed(); }

XLA_FFI_DEFINE_HANDLER_SYMBOL(HyperfuncConvolve, CallConvolve,
                              ffi::Ffi::Bind().Arg<Array>().Arg<Array>().Ret<Array>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(HyperfuncSumProducts, CallSumProducts,
                              ffi::Ffi::Bind().Arg<Array>().Arg<Array>().Ret<Array>());
