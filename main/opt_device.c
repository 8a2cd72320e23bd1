/* SPDX-License-Identifier: GPL-2.0-or-later */
/* opt_device - -device, -object, -global */
#include <stdio.h>

#include "base/alloc.h"
#include "base/opts_json.h"
#include "core/hotplug.h"
#include "main/dry_run.h"
#include "main/not_built.h"
#include "main/setup.h"

/* --- -device --- */

static bool make_device(Setup *s, const char *arg, Error *err)
{
    json_t *j = opts_json_parse(arg, "driver", KEYVAL_FLAGS, NULL, err);
    const char *driver = json_string_value(json_object_get(j, "driver"));
    bool ok = j && (!driver || device_class_find(driver) || device_refused(driver, err)) &&
              device_add_json(s->m, j, false, err);

    json_decref(j);
    return ok;
}

OPT(opt_device)
{
    bool ok = true;
    const char *driver;
    Opts o;

    if (!opts_parse(&o, arg, "driver", err))
        return false;
    driver = opts_get(&o, "driver");
    c->done |= (driver && is_help(driver)) || opts_get(&o, "help") || opts_get(&o, "?");
    if (!driver)
        ok = error_set(err, "Parameter 'driver' is missing");
    else if (is_help(driver))
        list_devices();
    else if (c->done)
        ok = list_properties(driver, err);
    else if (!device_class_find(driver) && device_not_built(driver))
        ok = device_refused(driver, err); /* before anything else is found to be missing */
    else
        config_later(c, STAGE_DEVICE, make_device, "device", arg);
    if (driver && !strcmp(driver, "isa-serial")) /* it takes the place of the default one */
        c->has_serial = true;
    opts_free(&o);
    return ok;
}

OPT_FLAG(opt_nodefaults, nodefaults)

OPT(opt_nothing)
{
    (void)c;
    return true;
}

/* --- -object --- */

static bool make_object(Setup *s, const char *arg, Error *err)
{
    json_t *j = opts_json_parse(arg, "qom-type", 0, NULL, err);
    bool ok = j && (!s->cfg->dry_run || dry_memory(j, err)) && object_new_json(s->objects, j, err);

    json_decref(j);
    return ok;
}

OPT(opt_object)
{
    static const OptionMaker maker = {"object",          "qom-type",   0,          object_help,
                                      object_class_help, STAGE_OBJECT, make_object};

    return option_make(c, &maker, arg, err);
}

/* --- -global: "driver.property=value" or driver=,property=,value= --- */

OPT(opt_global)
{
    const char *dot = strchr(arg, '.'), *equals = strchr(arg, '=');
    const char *driver, *property, *value;
    bool ok;
    Opts o;

    if (dot && equals && dot < equals) {
        text_add(&c->globals, arg);
        return true;
    }
    if (!opts_parse(&o, arg, NULL, err))
        return false;
    driver = opts_get(&o, "driver");
    property = opts_get(&o, "property");
    value = opts_get(&o, "value");
    ok = opts_all_used(&o, err);
    if (ok && (!driver || !property || !value))
        ok = error_set(err, "Invalid parameter '%s': it is driver.property=value",
                       driver ? property ? "value" : "property" : "driver");
    if (ok) {
        AUTO_FREE char *text = xasprintf("%s.%s=%s", driver, property, value);

        text_add(&c->globals, text);
    }
    opts_free(&o);
    return ok;
}

static const Option rows[] = {
    {.name = "device",
     .arg = "driver[,prop[=value][,...]]",
     .doc = "add device (based on driver)\nprop=value,... sets driver properties\n"
            "use '-device help' to print all possible drivers\n"
            "use '-device driver,help' to print all possible properties",
     .apply = opt_device},
    {.name = "global",
     .arg = "driver.property=value",
     .doc = "set a global default for a driver property",
     .apply = opt_global},
    {.name = "nodefaults", .doc = "don't create default devices", .apply = opt_nodefaults},
    {.name = "no-user-config",
     .doc = "do not load default user-provided config files (there are none)",
     .apply = opt_nothing},
    {0},
};
OPTIONS_REGISTER(devices, 20, "Device options", rows)

static const Option object_rows[] = {
    {.name = "object",
     .arg = "TYPENAME[,PROP1=VALUE1,...]",
     .doc = "create a new object of type TYPENAME\nuse '-object help' to list the types",
     .apply = opt_object},
    {0},
};
OPTIONS_REGISTER(objects, 80, "Generic object creation", object_rows)
