/* SPDX-License-Identifier: GPL-2.0-or-later */
/* model_query - what management may know of the models: names, features, what is missing here */
#include "cpu/x86/model.h"

#include "base/alloc.h"

enum { FEATURE_END = F_WORDS << 5 };

static json_t *features_json(const X86Cpu *x)
{
    json_t *j = json_object();

    for (unsigned i = 32; i < FEATURE_END; i++)
        if (x86_feature_name(i))
            json_object_set_new(j, x86_feature_name(i), json_boolean(x86_has(x->features, i)));
    json_object_set_new(
        j, "vendor", json_string(x->model->vendor == VENDOR_AMD ? "AuthenticAMD" : "GenuineIntel"));
    json_object_set_new(j, "family", json_integer(x->model->family));
    json_object_set_new(j, "model", json_integer(x->model->model));
    json_object_set_new(j, "stepping", json_integer(x->model->stepping));
    json_object_set_new(j, "level", json_integer(x->model->level));
    json_object_set_new(j, "xlevel", json_integer(x->model->xlevel));
    if (x->model->brand)
        json_object_set_new(j, "model-id", json_string(x->model->brand));
    return j;
}

static json_t *query_features(const char *text, bool long_mode, Error *err)
{
    AUTO_FREE char *quiet = xasprintf("%s,check=off", text);
    X86Cpu *x = xalloc_aligned(64, sizeof *x);
    json_t *j = x86_model_apply(x, quiet, long_mode, err) ? features_json(x) : NULL;

    x86_model_free(x);
    xfree(x);
    return j;
}

static json_t *query_missing(const char *name)
{
    uint64_t wants[F_WORDS], can[F_WORDS] = {0};
    json_t *list = json_array();

    x86_model_wants(name, wants);
    x86_features_available(can);
    for (unsigned i = 32; i < FEATURE_END; i++)
        if (x86_has(wants, i) && !x86_has(can, i) && x86_feature_name(i))
            json_array_append_new(list, json_string(x86_feature_name(i)));
    return list;
}

static json_t *query_features_64(const char *text, Error *err)
{
    return query_features(text, true, err);
}

static json_t *query_features_32(const char *text, Error *err)
{
    return query_features(text, false, err);
}

const CpuModels x86_query_64 = {x86_model_name, query_features_64, query_missing};
const CpuModels x86_query_32 = {x86_model_name, query_features_32, query_missing};
