/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * not_built - devices and kinds of back ends that QEMU 7.2 has and we do not
 *
 * A device that is registered is never looked up here, so a row needs no care once it is built.
 */
#include "main/not_built.h"

#include <fnmatch.h>

#define PCI "there is no PCI bus yet"
#define DISK                                                                                       \
    "there is no disk controller yet (-blockdev and -drive if=none open images without one; "      \
    "-kernel with -initrd starts without disks)"
#define NIC "there is no network card yet (-nic none goes without)"
#define SHOW "there is no display adapter yet (-vga none, -nographic go without)"
#define USB "there is no USB controller yet; leave it out"
#define SOUND "there is no sound device yet; leave it out"
#define PARTS "there is no PCI bus for virtio yet; leave it out"
#define DOG "there is no watchdog yet; leave it out"
#define HOT "processors and memory are all there from the start (-smp, -m)"

typedef struct Family {
    const char *pattern, *why; /* as of fnmatch(3); the first that fits counts */
} Family;

static const Family families[] = {
    {"virtio-blk*", DISK},
    {"virtio-scsi*", DISK},
    {"vhost-scsi*", DISK},
    {"vhost-user-blk*", DISK},
    {"vhost-user-scsi*", DISK},
    {"virtio-net*", NIC},
    {"virtio-gpu*", SHOW},
    {"virtio-vga*", SHOW},
    {"vhost-user-gpu*", SHOW},
    {"vhost-user-vga", SHOW},
    {"virtio-mem*", HOT},
    {"virtio-*", PARTS},
    {"vhost-*", PARTS},
    {"virtserialport", PARTS},
    {"virtconsole", PARTS},
    {"ide-*", DISK},
    {"scsi-*", DISK},
    {"ahci", DISK},
    {"ich9-ahci", DISK},
    {"piix[34]-ide", DISK},
    {"isa-ide", DISK},
    {"isa-fdc", "there is no floppy controller yet; leave it out"},
    {"floppy", "there is no floppy controller yet; leave it out"},
    {"lsi*", DISK},
    {"megasas*", DISK},
    {"mptsas1068", DISK},
    {"pvscsi", DISK},
    {"am53c974", DISK},
    {"dc390", DISK},
    {"nvme*", DISK},
    {"sdhci-pci", DISK},
    {"sd-card", DISK},
    {"e1000*", NIC},
    {"rtl8139", NIC},
    {"ne2k_*", NIC},
    {"pcnet", NIC},
    {"vmxnet3", NIC},
    {"i82*[0-9abcer]", NIC},
    {"tulip", NIC},
    {"rocker", NIC},
    {"pvrdma", NIC},
    {"*VGA", SHOW},
    {"*-vga", SHOW},
    {"*qxl*", SHOW},
    {"bochs-display", SHOW},
    {"ramfb", SHOW},
    {"sga", SHOW},
    {"vmware-svga", SHOW},
    {"usb-*", USB},
    {"*-usb-*", USB},
    {"*-xhci", USB},
    {"pci-ohci", USB},
    {"u2f-*", USB},
    {"ccid-card-*", USB},
    {"AC97", SOUND},
    {"ES1370", SOUND},
    {"intel-hda", SOUND},
    {"ich9-intel-hda", SOUND},
    {"hda-*", SOUND},
    {"adlib", SOUND},
    {"cs4231a", SOUND},
    {"gus", SOUND},
    {"sb16", SOUND},
    {"i6300esb", DOG},
    {"ib700", DOG},
    {"pcie-*", PCI "; leave it out"},
    {"pci-bridge*", PCI "; leave it out"},
    {"pci-serial*", PCI " (-device isa-serial is there)"},
    {"pci-*", PCI "; leave it out"},
    {"i82801b11-bridge", PCI "; leave it out"},
    {"ioh3420", PCI "; leave it out"},
    {"*3130-*", PCI "; leave it out"},
    {"pxb*", PCI "; leave it out"},
    {"cxl-*", PCI "; leave it out"},
    {"ivshmem-*", PCI "; leave it out"},
    {"edu", PCI "; leave it out"},
    {"*_pci", PCI "; leave it out"},
    {"*-PCI", PCI "; leave it out"},
    {"x-pci-*", PCI "; leave it out"},
    {"tpci200", PCI "; leave it out"},
    {"ipoctal232", PCI "; leave it out"},
    {"vmbus-bridge", "there is no VMBus yet; leave it out"},
    {"hv-syndbg", "there is no VMBus yet; leave it out"},
    {"i2c-ddc", SHOW},
    {"vfio-*", "devices of the host cannot be passed on (no PCI bus, no KVM); leave it out"},
    {"*-iommu", "there is no IOMMU yet; leave it out"},
    {"pvpanic*", "there is no panic device yet; leave it out"},
    {"vmgenid", "there is no VM generation ID yet; leave it out"},
    {"vmcoreinfo", "there is no vmcoreinfo device yet; leave it out"},
    {"tpm-*", "there is no TPM yet; leave it out"},
    {"*ipmi*", "there is no IPMI yet; leave it out"},
    {"pc-dimm", HOT},
    {"nvdimm", HOT},
    {"*-x86_64-cpu", HOT},
    {"*-i386-cpu", HOT},
    {"isa-parallel", "there is no parallel port yet (-parallel none)"},
    {"isa-applesmc", "there is no Apple SMC; leave it out"},
    {"pc-testdev", "there is no test device of kvm-unit-tests (isa-debug-exit is there)"},
    {"hyperv-testdev", "there is no test device of kvm-unit-tests (isa-debug-exit is there)"},
    {"i8042", "there is no keyboard controller yet; leave it out"},
    {"vmmouse", "there is no keyboard controller yet; leave it out"},
    {"loader", "files cannot be put into memory yet (-kernel, -initrd and -bios can)"},
    {"guest-loader", "files cannot be put into memory yet (-kernel, -initrd and -bios can)"},
    {"acpi-erst", "there is no error record storage; leave it out"},
};

const char *device_not_built(const char *driver)
{
    for (unsigned i = 0; i < COUNT_OF(families); i++)
        if (!fnmatch(families[i].pattern, driver, 0))
            return families[i].why;
    return NULL;
}

bool device_refused(const char *driver, Error *err)
{
    const char *names[256], *why = device_not_built(driver), *near;
    unsigned n = 0;

    if (why)
        return error_set(err, "'%s' is not built: %s", driver, why);
    for (const DeviceClass *d = device_class_next(NULL); d && n < COUNT_OF(names);
         d = device_class_next(d))
        if (d->user)
            names[n++] = d->name;
    near = nearest_name(driver, names, n);
    if (near)
        return error_set(err, "'%s' is not a valid device model name; did you mean %s?", driver,
                         near);
    return error_set(err, "'%s' is not a valid device model name (-device help lists them)",
                     driver);
}

bool value_refused_near(const char *key, const char *value, const char *const *names, Error *err)
{
    const char *near;
    unsigned n = 0;

    while (names[n])
        n++;
    near = nearest_name(value, names, n);
    if (near)
        return error_set(err, "Parameter '%s' does not accept value '%s'; did you mean '%s'?", key,
                         value, near);
    return value_refused(key, value, err);
}

bool only_none(const NotBuilt *k, const char *value, Error *err)
{
    if (!strcmp(value, "none"))
        return true;
    for (unsigned i = 0; k->values[i]; i++)
        if (!strcmp(k->values[i], value))
            return error_set(err, "'%s' is not built: %s", value, k->why);
    return value_refused_near(k->key, value, k->values, err);
}
