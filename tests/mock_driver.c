/* mock_driver.c - the CUDA driver or the HIP runtime, as far as vq_probe() asks them

     cc -fPIC -shared -DMOCK_CUDA mock_driver.c -o build/mock/libcuda.so.1
     cc -fPIC -shared -DMOCK_HIP  mock_driver.c -o build/mock/libamdhip64.so.7
     and both with -DMOCK_MISSING into build/mock/missing/: a symbol short

   Environment, read at each call; P is MOCK_CUDA or MOCK_HIP:
     P_DEVICES       architectures, commas between: "9.0,8.9"  "gfx942:sramecc+:xnack-,gfx90a"
     P_COUNT         how many devices it claims, where that is not how many it has
     P_NAME          of every device, "device N" without it; "long" fills the field
     P_ERROR_INIT (cuInit), P_ERROR_COUNT, P_ERROR_DEVICE, P_ERROR_VERSION    what calls return
     P_VERSION       of driver or runtime
   On load it sets P_LOADED. Device N has (N + 1) * 5 GiB and a byte. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef MOCK_CUDA
#define P "MOCK_CUDA"
#else
#define P "MOCK_HIP"
#endif

extern int setenv(const char *name, const char *value, int overwrite);

__attribute__((constructor)) static void loaded(void) { setenv(P "_LOADED", "1", 1); }

static int number(const char *name, int otherwise)
{
    const char *s = getenv(name);
    return s && *s ? atoi(s) : otherwise;
}

/* Device i of the list, or NULL. */
static const char *device(int i, char *out, size_t size)
{
    const char *s = getenv(P "_DEVICES");
    size_t n;
    if (!s || !*s || i < 0) return NULL;
    while (i--) {
        s = strchr(s, ',');
        if (!s) return NULL;
        s++;
    }
    n = strcspn(s, ",");
    if (n >= size) n = size - 1;
    memcpy(out, s, n);
    out[n] = 0;
    return out;
}

static int devices(void)
{
    char arch[256];
    int n = 0;
    while (device(n, arch, sizeof arch)) n++;
    return n;
}

/* size - 1 characters at most and a 0, which is what the runtimes promise. */
static void name(int i, char *out, size_t size)
{
    const char *s = getenv(P "_NAME");
    if (s && !strcmp(s, "long")) {
        memset(out, 'n', size - 1);
        out[size - 1] = 0;
    } else if (s) snprintf(out, size, "%s", s);
    else snprintf(out, size, "device %d", i);
}

static size_t memory(int i) { return (size_t)(i + 1) * 5 * 1024 * 1024 * 1024 + 1; }

#ifdef MOCK_CUDA
int cuInit(unsigned flags);
int cuDriverGetVersion(int *version);
int cuDeviceGetCount(int *count);
int cuDeviceGet(int *dev, int ordinal);
int cuDeviceGetName(char *out, int size, int dev);
int cuDeviceGetAttribute(int *out, int attribute, int dev);
int cuDeviceTotalMem_v2(size_t *out, int dev);

static int started;

int cuInit(unsigned flags)
{
    int e = number(P "_ERROR_INIT", 0);
    started = !e;
    return flags ? 1 : e;
}

int cuDriverGetVersion(int *version)
{
    *version = number(P "_VERSION", 12040);
    return number(P "_ERROR_VERSION", 0);
}

#ifndef MOCK_MISSING
int cuDeviceGetCount(int *count)
{
    if (!started) return 3;                                /* not initialized */
    *count = number(P "_COUNT", devices());
    return number(P "_ERROR_COUNT", 0);
}
#endif

/* A device handle is not an ordinal. */
int cuDeviceGet(int *dev, int ordinal)
{
    if (!started) return 3;
    if (ordinal < 0 || ordinal >= devices()) return 101;   /* invalid device */
    *dev = ordinal + 40;
    return number(P "_ERROR_DEVICE", 0);
}

int cuDeviceGetName(char *out, int size, int dev)
{
    if (dev < 40 || dev >= 40 + devices()) return 101;
    name(dev - 40, out, (size_t)size);
    return 0;
}

int cuDeviceGetAttribute(int *out, int attribute, int dev)
{
    char arch[64];
    int major = 0, minor = 0;
    if (!device(dev - 40, arch, sizeof arch)) return 101;
    if (sscanf(arch, "%d.%d", &major, &minor) != 2) return 1;
    if (attribute != 75 && attribute != 76) return 1;
    *out = attribute == 75 ? major : minor;
    return 0;
}

int cuDeviceTotalMem_v2(size_t *out, int dev)
{
    if (dev < 40 || dev >= 40 + devices()) return 101;
    *out = memory(dev - 40);
    return 0;
}
#else
int hipRuntimeGetVersion(int *version);
int hipGetDeviceCount(int *count);
int hipGetDevicePropertiesR0600(void *prop, int ordinal);

int hipRuntimeGetVersion(int *version)
{
    *version = number(P "_VERSION", 60443484);
    return number(P "_ERROR_VERSION", 0);
}

#ifndef MOCK_MISSING
int hipGetDeviceCount(int *count)
{
    *count = number(P "_COUNT", devices());
    return number(P "_ERROR_COUNT", 0);
}
#endif

/* Every byte of hipDeviceProp_tR0600 is written: a caller's struct that is short is overrun. */
int hipGetDevicePropertiesR0600(void *prop, int ordinal)
{
    char *p = (char *)prop;
    size_t bytes = memory(ordinal);
    if (ordinal < 0 || ordinal >= devices()) return 101;
    memset(p, 0xa5, 1472);
    name(ordinal, p, 256);
    memcpy(p + 288, &bytes, sizeof bytes);
    device(ordinal, p + 1160, 256);
    return number(P "_ERROR_DEVICE", 0);
}
#endif
